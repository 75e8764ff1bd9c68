import Testing

@testable import Engine

/// One connection through a middlebox, packet by packet. Numbers are counted from the one behind each end's SYN, and may
/// be negative.
struct Exchange: ~Copyable {
  var box: Middlebox
  var now = Instant.zero
  static let client = Endpoint(address: IPAddress("10.0.0.1")!, port: 40_000)
  static let server = Endpoint(address: IPAddress("10.0.1.2")!, port: 80)
  static let clientStart: UInt32 = 1_001
  static let serverStart: UInt32 = 0xffff_f001

  /// An opened connection, both ends with windows that are not scaled.
  init(
    _ modules: [any ProcessingModule], settings: Settings = Settings(), window: UInt16 = 65_535,
    synOptions: [UInt8] = [2, 4, 5, 0xb4, 4, 2]
  ) throws {
    box = Middlebox(settings)
    try box.configure(modules)
    _ = fromClient(-1, flags: .syn, window: window, options: synOptions)
    _ = fromServer(-1, acknowledging: 0, flags: [.syn, .ack], window: window, options: synOptions)
    _ = fromClient(0, window: window)
  }

  /// A middlebox that no packet has come to yet.
  init(unopened modules: [any ProcessingModule]) throws {
    box = Middlebox()
    try box.configure(modules)
  }

  mutating func fromClient(
    _ offset: Int, acknowledging number: Int = 0, flags: TCPFlags = .ack, window: UInt16 = 65_535,
    options: [UInt8] = [],
    payload: [UInt8] = [], isGSO: Bool = false
  ) -> Middlebox.Outcome {
    let packet = TCPPacket(
      from: Self.client, to: Self.server, sequence: Self.clientStart &+ UInt32(truncatingIfNeeded: offset),
      acknowledgement: flags.contains(.ack) ? Self.serverStart &+ UInt32(truncatingIfNeeded: number) : 0, flags: flags,
      window: window, options: options, payload: payload)
    return box.receive(packet, isGSO: isGSO, at: now)
  }

  mutating func fromServer(
    _ offset: Int, acknowledging number: Int = 0, flags: TCPFlags = .ack, window: UInt16 = 65_535,
    options: [UInt8] = [],
    payload: [UInt8] = [], isGSO: Bool = false
  ) -> Middlebox.Outcome {
    let packet = TCPPacket(
      from: Self.server, to: Self.client, sequence: Self.serverStart &+ UInt32(truncatingIfNeeded: offset),
      acknowledgement: flags.contains(.ack) ? Self.clientStart &+ UInt32(truncatingIfNeeded: number) : 0, flags: flags,
      window: window, options: options, payload: payload)
    return box.receive(packet, isGSO: isGSO, at: now)
  }

  /// Lets time pass; what is injected meanwhile.
  mutating func wait(_ span: Nanoseconds) -> [TCPPacket] {
    let end = now + span
    var list: [TCPPacket] = []
    while let deadline = box.engine.nextDeadline, deadline <= end {
      now = max(now, deadline)
      list += box.advance(to: now)
    }
    now = end
    return list
  }

  /// What the table says of the connection.
  func info() throws -> ConnectionInfo {
    let list = box.engine.connections(limit: 1)
    return try #require(list.first)
  }

  var statistics: Statistics { box.engine.statistics }
}

extension Middlebox.Outcome {
  /// All packets that left: the one that went on, and those injected behind it.
  var packets: [TCPPacket] { (packet.map { [$0] } ?? []) + injected }

  /// The payload that left for `end`, by offset from `start`; later packets do not overwrite earlier ones.
  func octets(to end: Endpoint, from start: UInt32) -> [Int: UInt8] {
    var octets: [Int: UInt8] = [:]
    for packet in packets where packet.tcp.destinationPort == end.port {
      let first = Int(Int32(bitPattern: packet.tcp.sequence &- start))
      for (index, byte) in packet.payload.enumerated() where octets[first + index] == nil {
        octets[first + index] = byte
      }
    }
    return octets
  }
}
