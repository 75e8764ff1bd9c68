import Testing

@testable import Engine

/// Packets that are longer than a queue hands over, of which the engine gets the beginning.
struct LongPacketTests {
  static let handed = 65_531
  static let flow = "ip_proto=6,tcp_dst=80"

  /// A packet from a client to port 80; its length as the kernel has it, which a field of 16 bits need not hold.
  private static func packet(to port: UInt16 = 80, isIPv6: Bool, length: Int = 150_000) -> [UInt8] {
    let addresses: (IPAddress, IPAddress) =
      isIPv6
      ? (IPAddress(high: 1, low: 1), IPAddress(high: 1, low: 2))
      : (IPAddress(v4: 0x0a00_0001), IPAddress(v4: 0x0a00_0002))
    var bytes = TCPPacket(
      from: Endpoint(address: addresses.0, port: 40_000), to: Endpoint(address: addresses.1, port: port), sequence: 1,
      acknowledgement: 1, flags: .ack, payload: [UInt8](repeating: 0x2e, count: 60_000)
    ).bytes
    let isJumbo = length > Int(UInt16.max)
    let field = isJumbo ? 0 : UInt16(isIPv6 ? length - 40 : length)
    bytes.replaceSubrange(isIPv6 ? 4..<6 : 2..<4, with: [UInt8(field >> 8), UInt8(field & 0xff)])
    if isIPv6, isJumbo {
      // The jumbo payload option (RFC 2675 section 2) in a header of hop-by-hop options.
      bytes[6] = 0
      bytes.insert(contentsOf: [6, 0, 0xc2, 4] + (0..<4).map { UInt8((length - 40) >> (24 - 8 * $0) & 0xff) }, at: 40)
    }
    return bytes + [UInt8](repeating: 0x2e, count: handed - bytes.count)
  }

  @Test(arguments: [false, true], [65_532, 65_535, 150_000])
  func passesWhereNoFlowMatches(isIPv6: Bool, length: Int) throws {
    var box = Middlebox()
    try box.configure(flows: [(Self.flow, [Reader()])])
    let passes = [81, 80].map { box.passes(beginning: Self.packet(to: $0, isIPv6: isIPv6, length: length)) }
    #expect(passes == [true, false])
    let counters = box.engine.statistics.engine
    #expect(counters.packets == 2 && counters.accepted == 1 && counters.dropped == 1)
    #expect(box.engine.statistics.connections == 0)
  }

  @Test(arguments: [false, true]) func doesNotPassWhereItWouldHaveToBeMapped(isIPv6: Bool) throws {
    var box = Middlebox()
    let passes = box.passes(beginning: Self.packet(isIPv6: isIPv6), mark: Marks.standard.edited)
    #expect(!passes)
  }

  @Test func theConnectionGoesOnWhenItComesAgain() throws {
    var talk = try Conversation.established([ByteEditor(rule: [UInt8(ascii: "x"): Array("---".utf8)])])
    #expect(talk.fromClient(0, "axb", acknowledging: 0).out == ["client . 0 ack 0 'a---b'"])
    let long = TCPPacket(
      from: talk.client, to: talk.server, sequence: Conversation.clientStart + 3,
      acknowledgement: Conversation.serverStart, flags: .ack,
      payload: [UInt8](repeating: UInt8(ascii: "x"), count: Self.handed - 40))
    let passes = talk.box.passes(beginning: long.bytes)
    #expect(!passes)
    #expect(talk.fromClient(3, "x", acknowledging: 0).out == ["client . 5 ack 0 '---'"])
  }

  @Test func anyOctetsAreTaken() throws {
    var box = Middlebox()
    try box.configure(flows: [("any", [Reader()])])
    var randomness = SystemRandomNumberGenerator()
    for count in 0..<200 {
      for first: UInt8 in [0x45, 0x4f, 0x60, 0x00] {
        var bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &randomness) }
        if count > 0 { bytes[0] = first }
        _ = box.passes(beginning: bytes)
      }
    }
    #expect(box.engine.statistics.engine.packets == 800)
  }
}
