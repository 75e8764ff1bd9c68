import Testing

@testable import Engine

/// What is injected in packets that the kernel cuts, see ``Segmentation``.
@Suite struct SuperPacketTests {
  /// Every octet `a` becomes five thousand.
  private static let swelling = ByteEditor(
    rule: [UInt8(ascii: "a"): [UInt8](repeating: UInt8(ascii: "b"), count: 5_000)])

  private static func conversation(
    isIPv6: Bool = false, interface: UInt32 = 1, modules: [any ProcessingModule] = [swelling]
  ) throws -> Conversation {
    var settings = Settings()
    settings.superPackets = (true, true)
    var talk = try Conversation(modules, isIPv6: isIPv6, settings: settings)
    talk.box.interface = interface
    try talk.shakeHands()
    return talk
  }

  /// Offset and length of each packet.
  private static func pieces(_ packets: [TCPPacket]) -> [String] {
    packets.map { "\($0.tcp.sequence &- Conversation.serverStart)+\($0.payload.count)" }
  }

  private static let single = ["0+1000", "1000+1000", "2000+1000", "3000+1000", "4000+1000"]

  @Test(arguments: [false, true]) func whatFindsNoRoomLeavesInOne(isIPv6: Bool) throws {
    var talk = try Self.conversation(isIPv6: isIPv6)
    let outcome = talk.fromServer(0, "a", flags: [.ack, .psh, .fin])
    #expect(talk.box.superPackets == 1)
    let out = [outcome.packet].compactMap { $0 } + outcome.injected
    #expect(Self.pieces(out) == Self.single)
    // The FIN goes with the last octet, and each was forwarded to where the packet that came was.
    #expect(out.map { $0.tcp.flags.contains(.fin) } == [false, false, false, false, true])
    #expect(out.allSatisfy { $0.isSound && $0.headers?.ip.hopLimit == 64 })
    #expect(talk.box.engine.statistics.engine.superPackets == 1)
  }

  @Test func aSingleSegmentLeavesByItself() throws {
    var talk = try Self.conversation(modules: [ByteEditor(rule: [UInt8(ascii: "a"): Array("bbbb".utf8)])])
    let outcome = talk.fromServer(0, String(repeating: "a", count: 500))
    #expect(Self.pieces([outcome.packet].compactMap { $0 } + outcome.injected) == ["0+1000", "1000+1000"])
    #expect(talk.box.superPackets == 0)
  }

  @Test func whatIsLongerThanAPacketLeavesInSeveralWithoutShortSegments() throws {
    var talk = try Self.conversation()
    let outcome = talk.fromServer(0, String(repeating: "a", count: 12))
    let out = [outcome.packet].compactMap { $0 } + outcome.injected
    #expect(talk.box.superPackets == 1)
    // As far as the window of 60,000 octets goes.
    #expect(out.allSatisfy { $0.payload.count == 1_000 } && out.count == 60)
  }

  @Test func thisMachineItselfSendsNone() throws {
    var talk = try Self.conversation(interface: 0)
    let outcome = talk.fromServer(0, "a")
    #expect(Self.pieces([outcome.packet].compactMap { $0 } + outcome.injected) == Self.single)
    #expect(talk.box.superPackets == 0)
  }

  @Test func urgentOctetsLeaveInNone() throws {
    var talk = try Self.conversation()
    let urgent = TCPPacket(
      from: talk.server, to: talk.client, sequence: Conversation.serverStart,
      acknowledgement: Conversation.clientStart, flags: [.ack, .urg], payload: Array("ab".utf8))
    var packet = urgent
    packet.bytes[39] = 2
    if let headers = packet.headers {
      var span = packet.bytes.mutableSpan
      HeaderPatch.setChecksums(of: headers, in: &span)
    }
    let outcome = talk.box.receive(packet, at: talk.now)
    #expect(outcome.injected.last?.tcp.flags.contains(.urg) == true)
    #expect(talk.box.superPackets == 0)
  }

  @Test func modulesThatSeeSegmentsSeeEach() throws {
    var talk = try Self.conversation()
    try talk.box.configure([Self.swelling, Segments()])
    try talk.box.configure([Self.swelling, Segments()])
    let outcome = talk.fromServer(0, "a")
    #expect(Self.pieces([outcome.packet].compactMap { $0 } + outcome.injected).count == 5)
    #expect(talk.box.superPackets == 0)
  }

  private struct Segments: ProcessingModule {
    static let description = ModuleDescription(kind: "segments", layer: .tcp, access: .read, help: "-")
    init(_ arguments: Arguments) {}
    init() {}
    mutating func process(_ window: inout Window) { window.releaseAll() }
  }

  @Test func whereTheyAreLostNoMoreAreMade() throws {
    var talk = try Self.conversation()
    talk.box.losesSuperPackets = true
    #expect(Self.pieces([try #require(talk.fromServer(0, "a").packet)]) == ["0+1000"])
    _ = talk.fromClient(0, acknowledging: 1_000)
    // The first segment of what is sent again has room in a packet that comes, the others have not.
    for number in 1...3 {
      #expect(talk.box.engine.statistics.engine.superPacketsLost == 0 && talk.box.superPackets == number)
      _ = talk.fromServer(0, "a")
      _ = talk.fromClient(0, acknowledging: 1_000 + number * 1_000)
    }
    #expect(talk.box.engine.statistics.engine.superPacketsLost == 1 && talk.box.superPackets == 3)
    let more = talk.fromServer(1, "a")
    #expect(([more.packet].compactMap { $0 } + more.injected).count == 5)
    #expect(talk.box.superPackets == 3)
  }

  @Test func oneThatArrivedInPartIsNotLost() throws {
    var talk = try Self.conversation()
    _ = talk.fromServer(0, "a")
    _ = talk.fromClient(0, acknowledging: 3_000)
    for _ in 0..<4 { _ = talk.fromServer(0, "a") }
    let more = talk.fromServer(1, "a")
    #expect(more.injected.count == 4)
    #expect(talk.box.engine.statistics.engine.superPacketsLost == 0 && talk.box.superPackets >= 2)
  }

  @Test func oneWhoseSegmentsAreTooLongIsSentAgain() throws {
    var talk = try Self.conversation()
    talk.box.losesSuperPackets = true
    _ = talk.fromServer(0, "a")
    talk.box.losesSuperPackets = false
    let quoted = TCPPacket(
      from: talk.server, to: talk.client, sequence: Conversation.serverStart + 1_000, flags: .ack,
      payload: [UInt8](repeating: UInt8(ascii: "b"), count: 4_000))
    let outcome = talk.box.receive(try PathMTURows.tooBig(quoted, mtu: 840), inPort: 0, at: talk.now)
    #expect(Self.pieces(outcome.injected) == ["1000+800", "1800+800", "2600+800", "3400+800", "4200+800"])
    #expect(talk.box.superPackets == 2)
  }
}
