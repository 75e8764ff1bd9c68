import Engine

/// An engine with one flow, `tcp,tcp_src=80`, and connections through it whose packets are made here.
struct Conversations: ~Copyable {
  var engine: Engine
  private var now = Instant.zero
  private var metadata = PacketMetadata()
  /// Of connection 0: the next octet of the server's, as it numbers them and as the client has them.
  private var sent: UInt32 = 1
  private var arrived: UInt32 = 1
  private var packet = [UInt8](repeating: 0, count: 40)

  init(_ modules: [any ProcessingModule]) {
    var settings = Settings()
    settings.connectionLimit = 1 << 20
    engine = Engine(settings)
    // As of a packet that the kernel has not computed the checksum of yet.
    metadata.isChecksumTrusted = true
    let stages = modules.enumerated().map { number, module in
      [AttachedModule(id: UInt32(number + 1), name: "module \(number)", prototype: module)]
    }
    guard let match = try? Match(parsing: "tcp,tcp_src=80", portNamed: { _ in nil }) else { fatalError("no match") }
    engine.apply(Configuration(flows: [Flow(id: 1, name: "web", match: match, priority: 0, stages: stages)]), at: now)
  }

  /// The handshake of a connection of its own client.
  mutating func open(_ number: Int) {
    _ = pass(number, isFromServer: false, flags: 0x02, sequence: 0, acknowledgement: 0)
    _ = pass(number, isFromServer: true, flags: 0x12, sequence: 0, acknowledgement: 1)
    _ = pass(number, isFromServer: false, flags: 0x10, sequence: 1, acknowledgement: 1)
  }

  /// So many packets from the server of connection 0, each with its acknowledgement.
  mutating func send(_ count: Int, _ payload: [UInt8]) {
    for _ in 0..<count {
      guard let length = pass(0, isFromServer: true, flags: 0x18, sequence: sent, acknowledgement: 1, payload) else {
        fatalError("a packet is dropped")
      }
      sent &+= UInt32(payload.count)
      arrived &+= UInt32(length)
      _ = pass(0, isFromServer: false, flags: 0x10, sequence: 1, acknowledgement: arrived)
    }
  }

  /// - Returns: octets of payload in what leaves; nil where nothing does.
  private mutating func pass(
    _ number: Int, isFromServer: Bool, flags: UInt8, sequence: UInt32, acknowledgement: UInt32, _ payload: [UInt8] = []
  ) -> Int? {
    let client = (address: 0x0a00_0000 + UInt32(number / 60_000), port: UInt16(1_024 + number % 60_000))
    let server = (address: UInt32(0xc000_0201), port: UInt16(80))
    let (source, destination) = isFromServer ? (server, client) : (client, server)
    packet.removeSubrange(40...)
    let isOpening = flags & 0x02 != 0
    // The segments that both ends take: 1,460 octets.
    packet += isOpening ? [2, 4, 0x05, 0xb4] : payload
    packet[0] = 0x45
    put16(UInt16(packet.count), at: 2)
    packet[6] = 0x40
    packet[8] = 64
    packet[9] = 6
    put32(source.address, at: 12)
    put32(destination.address, at: 16)
    put16(source.port, at: 20)
    put16(destination.port, at: 22)
    put32(sequence, at: 24)
    put32(acknowledgement, at: 28)
    packet[32] = isOpening ? 0x60 : 0x50
    packet[33] = flags
    put16(65_535, at: 34)

    now = Instant(nanoseconds: now.nanoseconds + 1_000)
    let buffer = engine.receiveBuffers(1)[0]
    buffer.copyBytes(from: packet)
    let verdict = engine.receive(0, packet: 0..<packet.count, metadata: metadata, at: now)
    defer { engine.recycle() }
    switch verdict {
    case .accept: return payload.count
    case .drop: return nil
    case .mangle(let packet, _): return packet.length - 40
    }
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
