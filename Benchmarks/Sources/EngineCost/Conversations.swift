import Engine

/// An engine with two flows of the same modules, `tcp,tcp_src=80` and `udp,udp_src=53`, and connections and associations
/// through it whose packets are made here.
struct Conversations: ~Copyable {
  var engine: Engine
  /// What the engine was given from ``record()`` on.
  private(set) var recording: [Recorded] = []
  private var isRecording = false
  private var now = Instant.zero
  private var metadata = PacketMetadata()
  private var ends: [Ends] = []
  private var packet = [UInt8](repeating: 0, count: 40)

  /// The next octet of each end, as it numbers them and as the other has them.
  private struct Ends {
    var client = UInt32(0)
    var clientArrived = UInt32(0)
    var server = UInt32(0)
    var serverArrived = UInt32(0)
    /// What the client has acknowledged.
    var acknowledged = UInt32(0)
  }

  /// - Parameters:
  ///   - others: flows beside those, none of which is met by these connections.
  ///   - shapes: lengths of prefix that those match.
  init(_ modules: [any ProcessingModule], others: Int = 0, shapes: Int = 8) {
    var settings = Settings()
    settings.connectionLimit = 1 << 20
    engine = Engine(settings)
    // As of a packet that the kernel has not computed the checksum of yet.
    metadata.isChecksumTrusted = true
    let stages = modules.enumerated().map { number, module in
      [AttachedModule(id: UInt32(number + 1), name: "module \(number)", prototype: module)]
    }
    var flows = [
      Flow(id: 1, name: "web", match: Self.match("tcp,tcp_src=80"), priority: 0, stages: stages),
      Flow(id: 2, name: "dns", match: Self.match("udp,udp_src=53"), priority: 0, stages: stages),
    ]
    for number in 0..<others {
      let match = Self.match("tcp,ip_dst=172.16.\(number / 256).0/\(24 - number % shapes),tcp_dst=\(1_000 + number)")
      flows.append(Flow(id: UInt32(number + 3), name: "other \(number)", match: match, priority: number % 3))
    }
    engine.apply(Configuration(flows: flows), at: now)
  }

  private static func match(_ text: String) -> Match {
    guard let match = try? Match(parsing: text, portNamed: { _ in nil }) else { fatalError("no match: \(text)") }
    return match
  }

  // MARK: What the ends do

  /// Makes room for the ends of so many connections.
  mutating func expect(_ count: Int) { ends = Array(repeating: Ends(), count: count) }

  /// The handshake of a connection of its own client; numbers count up from 0.
  mutating func open(_ number: Int) {
    if number >= ends.count { ends += Array(repeating: Ends(), count: number + 1 - ends.count) }
    ends[number] = Ends()
    pass(number, isFromServer: false, flags: 0x02)
    pass(number, isFromServer: true, flags: 0x12)
    pass(number, isFromServer: false, flags: 0x10)
  }

  /// A segment of the server's with `payload`; `flags` are added to ACK.
  mutating func respond(_ number: Int, _ payload: [UInt8], flags: UInt8 = 0x08) {
    pass(number, isFromServer: true, flags: 0x10 | flags, payload)
  }

  /// A segment of the client's with `payload`, which acknowledges all that has come.
  mutating func request(_ number: Int, _ payload: [UInt8] = [], flags: UInt8 = 0) {
    pass(number, isFromServer: false, flags: 0x10 | flags, payload)
  }

  /// Two segments of the server's, the second of which comes first.
  mutating func respondSwapped(_ number: Int, _ payload: [UInt8]) {
    ends[number].server &+= UInt32(payload.count)
    respond(number, payload)
    ends[number].server &-= UInt32(2 * payload.count)
    respond(number, payload)
    ends[number].server &+= UInt32(payload.count)
  }

  /// The server's last segment once more.
  mutating func repeatResponse(_ number: Int, _ payload: [UInt8]) {
    ends[number].server &-= UInt32(payload.count)
    respond(number, payload)
  }

  /// Has the client acknowledge so many octets more of what it has, and says whether there were as many.
  mutating func acknowledge(_ number: Int, _ count: Int) -> Bool {
    let arrived = ends[number].serverArrived
    guard Int32(bitPattern: arrived &- ends[number].acknowledged) >= count else { return false }
    ends[number].serverArrived = ends[number].acknowledged &+ UInt32(count)
    request(number)
    ends[number].serverArrived = arrived
    return true
  }

  /// Ends the connection from both sides.
  mutating func close(_ number: Int) {
    respond(number, [], flags: 0x01)
    request(number, flags: 0x01)
    pass(number, isFromServer: true, flags: 0x10)
  }

  /// A segment to nobody that is known.
  mutating func stray(_ number: Int) {
    if ends.isEmpty { ends.append(Ends()) }
    write(number, isFromServer: false, flags: 0x10, [])
    put16(8_080, at: 22)
    hand()
    engine.recycle()
  }

  /// A datagram of the server's to the client, and back.
  mutating func exchangeDatagrams(_ number: Int, _ payload: [UInt8]) {
    for isFromServer in [false, true] {
      writeDatagram(number, isFromServer: isFromServer, payload)
      hand()
      engine.recycle()
    }
  }

  // MARK: Once more

  /// A packet as the engine got it.
  struct Recorded {
    let octets: [UInt8]
    let metadata: PacketMetadata
  }

  /// Keeps a copy of all that the engine is given from now on, and forgets those kept before.
  mutating func record() {
    recording = []
    isRecording = true
  }

  /// Gives the engine packets that another one in the same state was given before.
  mutating func repeatAll(_ packets: [Recorded]) {
    for packet in packets {
      receive(packet.octets, packet.metadata)
      engine.recycle()
    }
  }

  // MARK: Packets

  private mutating func pass(_ number: Int, isFromServer: Bool, flags: UInt8, _ payload: [UInt8] = []) {
    write(number, isFromServer: isFromServer, flags: flags, payload)
    let verdict = hand()
    if !isFromServer { ends[number].acknowledged = ends[number].serverArrived }
    let taken = UInt32(payload.count) + (flags & 0x03 != 0 ? 1 : 0)
    if isFromServer { ends[number].server &+= taken } else { ends[number].client &+= taken }
    switch verdict {
    case .accept: packet.withUnsafeBytes { arrived(number, $0, $0.count) }
    case .drop: break
    case .mangle(let packet, _): arrived(number, engine.output.pieces[packet.pieces.lowerBound], packet.length)
    }
    for injection in engine.output.injections {
      arrived(number, engine.output.pieces[injection.packet.pieces.lowerBound], injection.packet.length)
    }
    engine.recycle()
  }

  /// Takes note of a packet of `length` octets that leaves with these headers.
  private mutating func arrived(_ number: Int, _ headers: UnsafeRawBufferPointer, _ length: Int) {
    func number32(_ at: Int) -> UInt32 { UInt32(bigEndian: headers.loadUnaligned(fromByteOffset: at, as: UInt32.self)) }
    let payload = length - 20 - Int(headers[32] >> 4) * 4
    let end = number32(24) &+ UInt32(payload) &+ (headers[33] & 0x03 != 0 ? 1 : 0)
    if number32(20) >> 16 == 80 {
      if Int32(bitPattern: end &- ends[number].serverArrived) > 0 { ends[number].serverArrived = end }
    } else {
      if Int32(bitPattern: end &- ends[number].clientArrived) > 0 { ends[number].clientArrived = end }
    }
  }

  @discardableResult
  private mutating func hand() -> Verdict {
    metadata.isGSO = packet.count > 1_500
    metadata.isSummedLater = metadata.isGSO
    if isRecording { recording.append(Recorded(octets: packet, metadata: metadata)) }
    return receive(packet, metadata)
  }

  @discardableResult
  private mutating func receive(_ octets: [UInt8], _ metadata: PacketMetadata) -> Verdict {
    now = Instant(nanoseconds: now.nanoseconds + 1_000)
    let buffer = engine.receiveBuffers(1)[0]
    buffer.copyBytes(from: octets)
    return engine.receive(0, packet: 0..<octets.count, metadata: metadata, at: now)
  }

  private mutating func write(_ number: Int, isFromServer: Bool, flags: UInt8, _ payload: [UInt8]) {
    let state = number < ends.count ? ends[number] : Ends()
    let isOpening = flags & 0x02 != 0
    // The segments that both ends take: 1,460 octets.
    writeIP(6, number, isFromServer, port: 80, headers: 40, isOpening ? [2, 4, 0x05, 0xb4] : payload)
    put32(isFromServer ? state.server : state.client, at: 24)
    put32(flags & 0x10 == 0 ? 0 : isFromServer ? state.clientArrived : state.serverArrived, at: 28)
    packet[32] = isOpening ? 0x60 : 0x50
    packet[33] = flags
    put16(65_535, at: 34)
  }

  private mutating func writeDatagram(_ number: Int, isFromServer: Bool, _ payload: [UInt8]) {
    writeIP(17, number, isFromServer, port: 53, headers: 28, payload)
    put16(UInt16(8 + payload.count), at: 24)
    put16(0, at: 26)
  }

  /// The packet with its IP header and its ports, `port` that of the server.
  private mutating func writeIP(
    _ transport: UInt8, _ number: Int, _ isFromServer: Bool, port: UInt16, headers: Int, _ payload: [UInt8]
  ) {
    let client = (address: 0x0a00_0000 + UInt32(number / 60_000), port: UInt16(1_024 + number % 60_000))
    let server = (address: UInt32(0xc000_0201), port: port)
    let (source, destination) = isFromServer ? (server, client) : (client, server)
    packet.removeSubrange(headers...)
    packet += payload
    packet[0] = 0x45
    put16(UInt16(packet.count), at: 2)
    packet[6] = 0x40
    packet[8] = 64
    packet[9] = transport
    put32(source.address, at: 12)
    put32(destination.address, at: 16)
    put16(source.port, at: 20)
    put16(destination.port, at: 22)
  }

  private mutating func put16(_ value: UInt16, at index: Int) {
    packet[index] = UInt8(value >> 8)
    packet[index + 1] = UInt8(truncatingIfNeeded: value)
  }

  private mutating func put32(_ value: UInt32, at index: Int) {
    put16(UInt16(value >> 16), at: index)
    put16(UInt16(truncatingIfNeeded: value), at: index + 2)
  }
}
