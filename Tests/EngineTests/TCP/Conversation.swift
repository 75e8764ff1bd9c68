import Testing

@testable import Engine

/// A connection in a given state and a script of segments: what each becomes is compared as a whole.
///
/// The client's numbers start at 1,000, the server's at 5,000; offsets count octets of the stream from 0.
struct Conversation: ~Copyable {
  var box: Middlebox
  var now = Instant.zero
  let client: Endpoint
  let server: Endpoint
  var usesTimestamps = false

  static let clientStart: UInt32 = 1_001
  static let serverStart: UInt32 = 5_001

  init(_ modules: [any ProcessingModule], isIPv6: Bool = false, settings: Settings = Settings()) throws {
    let client = Endpoint(address: try #require(IPAddress(isIPv6 ? "fd00::1" : "10.0.0.1")), port: 40_000)
    let server = Endpoint(address: try #require(IPAddress(isIPv6 ? "fd00::2" : "10.0.1.2")), port: 80)
    var box = Middlebox(settings)
    try box.configure(modules)
    self.client = client
    self.server = server
    self.box = box
  }

  /// After the three-way handshake, with SACK and a maximum segment of 1,000 octets.
  static func established(
    _ modules: [any ProcessingModule], isIPv6: Bool = false, usesTimestamps: Bool = false
  ) throws -> Conversation {
    var conversation = try Conversation(modules, isIPv6: isIPv6)
    conversation.usesTimestamps = usesTimestamps
    try conversation.shakeHands()
    return conversation
  }

  /// SYN, SYN-ACK and ACK, all of which pass.
  ///
  /// - Parameters:
  ///   - toServer, toClient: how long the answers of the server and of the client take.
  ///   - repeating: whether the SYN and the SYN-ACK are sent twice.
  mutating func shakeHands(
    window: UInt16 = 65_535, permitsSACK: Bool = true, maximumSegment: UInt16 = 1_000, toServer: Nanoseconds = 0,
    toClient: Nanoseconds = 0, repeating: Bool = false
  ) throws {
    let options =
      [2, 4] + PacketBytes.octets(maximumSegment) + (permitsSACK ? [4, 2] : []) + (usesTimestamps ? stamp(10, 0) : [])
    let syn = TCPPacket(
      from: client, to: server, sequence: Self.clientStart &- 1, flags: .syn, window: window, options: options)
    for _ in 0..<(repeating ? 2 : 1) { #expect(box.receive(syn, at: now).packet != nil) }
    now = now + toServer
    let answer = TCPPacket(
      from: server, to: client, sequence: Self.serverStart &- 1, acknowledgement: Self.clientStart,
      flags: [.syn, .ack], window: window, options: options)
    for _ in 0..<(repeating ? 2 : 1) { #expect(box.receive(answer, at: now).packet != nil) }
    now = now + toClient
    #expect(fromClient(0, acknowledging: 0, window: min(window, 60_000)).kind == .accepted)
  }

  private func stamp(_ value: UInt8, _ echo: UInt8) -> [UInt8] { [1, 1, 8, 10, 0, 0, 0, value, 0, 0, 0, echo] }

  /// A segment of the client's: `offset` in what it sends, `acknowledging` so much of what the server sends.
  mutating func fromClient(
    _ offset: Int, _ text: String = "", acknowledging: Int, flags: TCPFlags = .ack, window: UInt16 = 60_000,
    options: [UInt8] = [], isGSO: Bool = false, mark: UInt32 = 0
  ) -> Middlebox.Outcome {
    box.receive(
      TCPPacket(
        from: client, to: server, sequence: Self.clientStart &+ UInt32(truncatingIfNeeded: offset),
        acknowledgement: Self.serverStart &+ UInt32(truncatingIfNeeded: acknowledging), flags: flags, window: window,
        options: options + (usesTimestamps ? stamp(20, 30) : []), payload: Array(text.utf8)),
      isGSO: isGSO, mark: mark, at: now)
  }

  /// A segment of the server's.
  mutating func fromServer(
    _ offset: Int, _ text: String = "", acknowledging: Int = 0, flags: TCPFlags = .ack, window: UInt16 = 60_000,
    options: [UInt8] = [], isGSO: Bool = false, mark: UInt32 = 0
  ) -> Middlebox.Outcome {
    box.receive(
      TCPPacket(
        from: server, to: client, sequence: Self.serverStart &+ UInt32(truncatingIfNeeded: offset),
        acknowledgement: Self.clientStart &+ UInt32(truncatingIfNeeded: acknowledging), flags: flags, window: window,
        options: options + (usesTimestamps ? stamp(30, 20) : []), payload: Array(text.utf8)),
      isGSO: isGSO, mark: mark, at: now)
  }

  mutating func pass(_ span: Nanoseconds) -> [TCPPacket] {
    now = now + span
    return box.advance(to: now)
  }

  static func sack(_ blocks: [(Int, Int)], from start: UInt32) -> [UInt8] {
    func octets(_ offset: Int) -> [UInt8] {
      let number = start &+ UInt32(truncatingIfNeeded: offset)
      return [UInt8(number >> 24), UInt8(number >> 16 & 255), UInt8(number >> 8 & 255), UInt8(number & 255)]
    }
    return [1, 1, 5, UInt8(2 + 8 * blocks.count)] + blocks.flatMap { octets($0.0) + octets($0.1) }
  }
}

extension TCPPacket {
  /// The essence of a segment, as offsets in the two streams.
  var summary: String {
    let isFromServer = headers?.ip.source.description.hasSuffix("2") ?? false
    let own = isFromServer ? Conversation.serverStart : Conversation.clientStart
    let other = isFromServer ? Conversation.clientStart : Conversation.serverStart
    let flags = tcp.flags
    let names: [(TCPFlags, String)] = [(.syn, "S"), (.fin, "F"), (.rst, "R"), (.psh, "P"), (.ack, ".")]
    var text = isFromServer ? "server " : "client "
    text += names.filter { flags.contains($0.0) }.map(\.1).joined()
    text += " \(Int32(bitPattern: tcp.sequence &- own))"
    if flags.contains(.ack) { text += " ack \(Int32(bitPattern: tcp.acknowledgement &- other))" }
    for index in 0..<tcp.options.sack.count {
      let (left, right) = tcp.options.sack[index]
      text += " sack \(Int32(bitPattern: left &- other))-\(Int32(bitPattern: right &- other))"
    }
    if !payload.isEmpty { text += " '\(String(decoding: payload, as: UTF8.self))'" }
    return text
  }
}

extension Middlebox.Outcome {
  /// What leaves, in order: the packet itself, if it goes on, then what is injected.
  var out: [String] { ([packet].compactMap { $0 } + injected).map(\.summary) }
}
