import ModuleTesting
import Testing

@testable import Engine

/// Modules of the layer `tcp`, on threads that the test moves.
@Suite struct SegmentThreadTests {
  static let client = Endpoint(address: IPAddress("10.0.0.1")!, port: 40_000)
  static let server = Endpoint(address: IPAddress("10.0.1.2")!, port: 80)

  static func data(_ offset: UInt32, _ text: String) -> TCPPacket {
    TCPPacket(
      from: client, to: server, sequence: 1_001 + offset, acknowledgement: 5_001, flags: .ack,
      payload: Array(text.utf8))
  }

  static let handshake = [
    TCPPacket(from: client, to: server, sequence: 1_000, flags: .syn),
    TCPPacket(from: server, to: client, sequence: 5_000, acknowledgement: 1_001, flags: [.syn, .ack]),
    TCPPacket(from: client, to: server, sequence: 1_001, acknowledgement: 5_001, flags: .ack),
  ]

  @Test(
    arguments: [
      [WindowSetter()], [SegmentModule()], [WindowSetter(), SegmentModule()],
      [SegmentModule(), ByteEditor(rule: [UInt8(ascii: "b"): Array("long".utf8)])],
      [ByteEditor(rule: [UInt8(ascii: "b"): Array("long".utf8)]), SegmentModule()],
      [HopLimit(9), SegmentModule(), ByteEditor(rule: [:]), WindowSetter(), HopLimit(8)],
    ] as [[any ProcessingModule]])
  func whatLeavesIsTheSame(modules: [any ProcessingModule]) throws {
    for onFail in Flow.FailurePolicy.allCases {
      for text in ["ab", "D", "R", "P"] {
        var twins = try Twins([("tcp,tcp_dst=80", modules)], onFail: onFail)
        for packet in Self.handshake { twins.receive(packet) }
        twins.receive(Self.data(0, "xab"))
        twins.receive(Self.data(3, text))
        twins.receive(Self.data(3, "yab"))
        twins.receive(
          TCPPacket(from: Self.server, to: Self.client, sequence: 5_001, acknowledgement: 1_004, flags: .ack))
        twins.receive(
          TCPPacket(from: Self.server, to: Self.client, sequence: 5_001, acknowledgement: 1_004, flags: [.ack, .fin]))
        twins.receive(
          TCPPacket(from: Self.client, to: Self.server, sequence: 1_007, acknowledgement: 5_002, flags: [.ack, .fin]))
        twins.expectSameCounters()
      }
    }
  }

  /// A connection through `modules`, each on a thread.
  private struct Talk: ~Copyable {
    var box: Middlebox
    let threads = ManualThreads()

    init(_ modules: [(id: UInt32, module: any ProcessingModule)]) throws {
      var settings = Settings()
      settings.threads = threads
      box = Middlebox(settings)
      configure(modules)
      for packet in SegmentThreadTests.handshake { _ = receive(packet) }
    }

    mutating func configure(
      _ modules: [(id: UInt32, module: any ProcessingModule)], onFail: Flow.FailurePolicy = .pass
    ) {
      let match = try! Match(parsing: "tcp,tcp_dst=80", portNamed: { _ in nil })
      let stages = modules.map { [AttachedModule($0.id, $0.module, run: .thread)] }
      box.engine.apply(
        Configuration(flows: [Flow(id: 1, name: "f", match: match, priority: 0, onFail: onFail, stages: stages)]),
        at: .zero)
    }

    mutating func send(_ packet: TCPPacket) -> Middlebox.Outcome.Kind { box.receive(packet, at: .zero).kind }

    mutating func settle() -> [String] {
      box.settle(threads).map { String(decoding: $0.payload, as: UTF8.self) }
    }

    mutating func receive(_ packet: TCPPacket) -> [String] {
      let outcome = box.receive(packet, at: .zero)
      return [outcome.packet].compactMap { $0.map { String(decoding: $0.payload, as: UTF8.self) } } + settle()
    }
  }

  @Test func detachLetsGoWhatWaited() throws {
    var talk = try Talk([(1, SegmentModule())])
    for offset in 0..<3 as Range<UInt32> { #expect(talk.send(Self.data(offset, "a")) == .dropped) }
    talk.configure([])
    #expect(talk.send(Self.data(3, "a")) == .dropped)
    #expect(talk.settle() == ["a", "a", "a", "a"])
    #expect(talk.threads.count == 0)
    #expect(talk.send(Self.data(4, "a")) == .accepted)
    #expect(talk.box.engine.statistics.memoryInUse < 1 << 20)
  }

  @Test func moveLetsNothingBeSeenTwice() throws {
    var talk = try Talk([(1, SegmentModule()), (2, WindowSetter())])
    #expect(talk.send(Self.data(0, "a")) == .dropped)
    talk.configure([(2, WindowSetter()), (1, SegmentModule())])
    #expect(talk.send(Self.data(1, "a")) == .dropped)
    #expect(talk.settle() == ["b", "b"])
    #expect(talk.box.engine.statistics.modules[2]?.own[0] == 4)
  }

  @Test(arguments: [(Flow.FailurePolicy.pass, ["a", "a"]), (.drop, []), (.reset, ["", ""])])
  func failureDecidesOverWhatWaits(onFail: Flow.FailurePolicy, expected: [String]) throws {
    var talk = try Talk([(1, SegmentModule())])
    talk.configure([(1, SegmentModule())], onFail: onFail)
    for (offset, text) in ["P", "a", "a"].enumerated() { _ = talk.send(Self.data(UInt32(offset), text)) }
    #expect(talk.settle() == expected)
    #expect(talk.threads.count == 0)
    #expect(talk.box.engine.statistics.engine.moduleFailures == 1)
    #expect(talk.send(Self.data(3, "a")) == (onFail == .pass ? .accepted : .dropped))
    #expect(talk.box.engine.statistics.memoryInUse < 1 << 20)
  }

  @Test func connectionThatIsGoneLeavesNothingBehind() throws {
    var talk = try Talk([(1, SegmentModule())])
    _ = talk.send(Self.data(0, "a"))
    let id = try #require(talk.box.engine.connections(limit: 1).first?.id)
    let isKilled = talk.box.engine.kill(connection: id, at: .zero)
    #expect(isKilled)
    _ = talk.box.takeInjections()
    #expect(talk.settle() == [])
    #expect(talk.threads.count == 0)
    #expect(talk.box.engine.statistics.memoryInUse < 1 << 20)
  }

  @Test func segmentsKeepTheirOrderInFrontOfAnEditor() throws {
    let editor = ByteEditor(rule: [UInt8(ascii: "b"): Array("long".utf8)])
    var settings = Settings()
    let threads = ManualThreads()
    settings.threads = threads
    var box = Middlebox(settings)
    try box.configure(flows: [("tcp,tcp_dst=80", [SegmentModule(), editor])], packetsRun: .thread)
    func settle(_ box: inout Middlebox) -> [TCPPacket] {
      threads.stepAll()
      return box.collect()
    }
    for packet in Self.handshake {
      _ = box.receive(packet, at: .zero)
      _ = settle(&box)
    }
    for offset in 0..<4 as Range<UInt32> { _ = box.receive(Self.data(offset, "a"), at: .zero) }
    let left = settle(&box)
    #expect(left.map { String(decoding: $0.payload, as: UTF8.self) } == ["long", "long", "long", "long"])
    #expect(left.map(\.tcp.sequence) == [1_001, 1_005, 1_009, 1_013])
    #expect(box.engine.statistics.engine.outOfOrder == 0)
  }

  /// Of a connection that is followed, the kernel cuts super-packets again; until those turn out to get lost.
  @Test(arguments: [false, true]) func superPacketLeavesWhole(isLost: Bool) throws {
    let threads = ManualThreads()
    var settings = Settings()
    settings.threads = threads
    settings.superPackets = (true, true)
    var box = Middlebox(settings)
    box.interface = 1
    box.losesSuperPackets = isLost
    try box.configure(flows: [("any", [HopLimit(9)])], packetsRun: .thread)
    func receive(_ packet: TCPPacket, isGSO: Bool = false, _ box: inout Middlebox) -> [TCPPacket] {
      _ = box.receive(packet, isGSO: isGSO, isChecksumTrusted: isGSO, at: .zero)
      threads.stepAll()
      return box.collect()
    }
    let offer: [UInt8] = [2, 4, 3, 232]
    _ = receive(TCPPacket(from: Self.client, to: Self.server, sequence: 1_000, flags: .syn, options: offer), &box)
    _ = receive(
      TCPPacket(
        from: Self.server, to: Self.client, sequence: 5_000, acknowledgement: 1_001, flags: [.syn, .ack],
        options: offer), &box)
    _ = receive(Self.handshake[2], &box)
    let payload = (0..<2_500).map { UInt8($0 & 0xff) }
    func data(_ range: Range<Int>) -> TCPPacket {
      TCPPacket(
        from: Self.client, to: Self.server, sequence: 1_001 + UInt32(range.lowerBound), acknowledgement: 5_001,
        flags: .ack, payload: Array(payload[range]))
    }
    guard isLost else {
      let left = receive(data(0..<2_500), isGSO: true, &box)
      #expect(left.flatMap(\.payload) == payload)
      #expect(left.map(\.payload.count) == [1_000, 1_000, 500])
      #expect(left.allSatisfy { $0.isChecksumRight && $0.headers?.ip.hopLimit == 9 })
      #expect(box.superPackets == 1)
      return
    }
    for attempt in 1...3 {
      #expect(receive(data(0..<2_500), isGSO: true, &box).isEmpty)
      #expect(box.superPackets == attempt)
      // The source sends the first segment again.
      #expect(receive(data(0..<1_000), &box).map(\.payload.count) == [1_000])
    }
    #expect(receive(data(0..<2_500), isGSO: true, &box).map(\.payload.count) == [1_000, 1_000, 500])
    #expect(box.superPackets == 3)
    #expect(box.engine.statistics.engine.superPacketsLost == 1)
  }

  /// In a translated name it may be this machine that speaks, and the kernel takes in nothing with an address of its own.
  @Test(arguments: [[Translator()], [ByteEditor(rule: [:]), Translator()]] as [[any ProcessingModule]])
  func whatIsTranslatedIsCutHere(modules: [any ProcessingModule]) throws {
    let threads = ManualThreads()
    var settings = Settings()
    settings.threads = threads
    settings.superPackets = (true, true)
    var box = Middlebox(settings)
    box.interface = 1
    try box.configure(flows: [("ip,ipv4_src=10.0.0.1", modules)], packetsRun: .thread)
    let offer: [UInt8] = [2, 4, 3, 232]
    let seen = Endpoint(address: try #require(IPAddress("192.0.2.1")), port: Self.client.port)
    let payload = [UInt8](repeating: 7, count: 2_500)
    var left: [TCPPacket] = []
    for packet in [
      TCPPacket(from: Self.client, to: Self.server, sequence: 1_000, flags: .syn, options: offer),
      TCPPacket(
        from: Self.server, to: seen, sequence: 5_000, acknowledgement: 1_001, flags: [.syn, .ack], options: offer),
      TCPPacket(from: Self.client, to: Self.server, sequence: 1_001, acknowledgement: 5_001, flags: .ack),
      TCPPacket(
        from: Self.client, to: Self.server, sequence: 1_001, acknowledgement: 5_001, flags: .ack, payload: payload),
    ] {
      let isGSO = packet.payload.count > 1_000
      _ = box.receive(packet, isGSO: isGSO, isChecksumTrusted: isGSO, at: .zero)
      left = box.settle(threads)
    }
    #expect(left.flatMap(\.payload) == payload)
    #expect(left.count > 1 && left.allSatisfy { $0.headers?.ip.source == seen.address && $0.isChecksumRight })
    #expect(box.superPackets == 0)
  }
}
