import ModuleTesting
import Testing

@testable import Engine

/// Modules that work on packets, on threads that the test moves.
@Suite struct PacketThreadTests {
  static let inside = PacketModuleTests.inside
  static let outside = PacketModuleTests.outside

  static func box(
    _ flows: [(match: String, modules: [any ProcessingModule])], _ threads: ManualThreads,
    onFail: Flow.FailurePolicy = .pass
  ) throws -> Middlebox {
    var settings = Settings()
    settings.threads = threads
    var box = Middlebox(settings)
    try box.configure(flows: flows, onFail: onFail, packetsRun: .thread)
    return box
  }

  static func datagram(_ number: UInt8, port: UInt16 = 5_000) -> TCPPacket {
    IPPacket.udp(from: Endpoint(address: inside.address, port: port), to: outside, [number])
  }

  /// The last octets of what left: the numbers of the datagrams.
  static func numbers(_ packets: [TCPPacket]) -> [UInt8] { packets.compactMap(\.bytes.last) }

  // MARK: The same as inline

  @Test(
    arguments: [
      [HopLimit(9), Translator()], [Translator()], [HopLimit(3), HopLimit(4)], [Refuser()], [Refuser(isTelling: false)],
      [Translator(), Refuser()], [Failing(at: 3), HopLimit(9)],
      [Translator(), ByteEditor(rule: [1: [7, 7, 7]])], [ByteEditor(rule: [1: [7, 7, 7]]), Translator()],
    ] as [[any ProcessingModule]])
  func whatLeavesIsTheSame(modules: [any ProcessingModule]) throws {
    for onFail in Flow.FailurePolicy.allCases {
      var twins = try Twins([("any", modules)], onFail: onFail)
      for packet in PacketModuleTests.kinds {
        twins.receive(packet)
        twins.receive(packet)
      }
      var damaged = PacketModuleTests.kinds[0]
      damaged.bytes[28] ^= 0xff
      twins.receive(damaged, isSound: false)
      twins.expectSameCounters()
    }
  }

  @Test(arguments: [true, false]) func connectionIsTranslatedAndEdited(isEditedOutside: Bool) throws {
    let editor = ByteEditor(rule: [UInt8(ascii: "a"): Array("long".utf8)])
    let modules: [any ProcessingModule] = isEditedOutside ? [Translator(), editor] : [editor, Translator()]
    var twins = try Twins([("ip,ipv4_src=10.0.0.1", modules)])
    let client = Endpoint(address: IPAddress("10.0.0.1")!, port: 40_000)
    let known = Endpoint(address: IPAddress("192.0.2.1")!, port: 40_000)
    let server = Endpoint(address: IPAddress("10.0.1.2")!, port: 80)
    twins.receive(TCPPacket(from: client, to: server, sequence: 1_000, flags: .syn))
    twins.receive(TCPPacket(from: server, to: known, sequence: 5_000, acknowledgement: 1_001, flags: [.syn, .ack]))
    twins.receive(TCPPacket(from: client, to: server, sequence: 1_001, acknowledgement: 5_001, flags: .ack))
    let data = TCPPacket(
      from: client, to: server, sequence: 1_001, acknowledgement: 5_001, flags: .ack, payload: Array("xay".utf8))
    #expect(twins.receive(data).map(\.line) == ["192.0.2.1:40000 > 10.0.1.2:80 tcp"])
    #expect(twins.receive(data).first.map { String(decoding: $0.payload, as: UTF8.self) } == "xlongy")
    let told = TCPPacket(from: server, to: known, sequence: 5_001, acknowledgement: 1_007, flags: .ack)
    #expect(twins.receive(told).first?.tcp.acknowledgement == 1_004)
    twins.receive(TCPPacket(from: server, to: known, sequence: 5_001, acknowledgement: 1_007, flags: .rst))
    twins.expectSameCounters()
  }

  // MARK: Order and bounds

  @Test func packetsKeepTheirOrderAndOthersPass() throws {
    let threads = ManualThreads()
    var box = try Self.box([("udp,udp_src=5000", [HopLimit(9), HopLimit(8)])], threads)
    for number in 1...5 as ClosedRange<UInt8> {
      #expect(box.receive(Self.datagram(number), at: .zero).kind == .dropped)
      // Another flow does not wait.
      #expect(box.receive(Self.datagram(number, port: 6_000), at: .zero).kind == .accepted)
    }
    threads.step(0)
    #expect(box.collect().isEmpty)
    #expect(box.receive(Self.datagram(6), at: .zero).kind == .dropped)
    threads.step(1)
    #expect(Self.numbers(box.collect()) == [1, 2, 3, 4, 5])
    threads.step(0)
    #expect(box.collect().isEmpty)
    threads.step(1)
    let last = box.collect()
    #expect(Self.numbers(last) == [6])
    #expect(last.first?.headers?.ip.hopLimit == 8)
    #expect(box.injectedMarks == [Marks.standard.injected])
  }

  @Test func markOfAPacketStaysWithIt() throws {
    let threads = ManualThreads()
    var box = try Self.box([("any", [HopLimit(9)])], threads)
    _ = box.receive(Self.datagram(1), mark: 0x1234, at: .zero)
    threads.stepAll()
    _ = box.collect()
    #expect(box.injectedMarks == [0x1234 | Marks.standard.injected])
  }

  @Test func whatFindsNoRoomIsDroppedAndCounted() throws {
    let threads = ManualThreads()
    var box = try Self.box([("any", [HopLimit(9)])], threads)
    for number in 0..<2_000 { _ = box.receive(Self.datagram(UInt8(number & 0xff)), at: .zero) }
    #expect(box.engine.statistics.engine.threadOverflows == 2_000 - 1_024)
    #expect(box.engine.statistics.memoryInUse < 8 << 20)
    threads.stepAll()
    #expect(Self.numbers(box.collect()) == (0..<1_024).map { UInt8($0 & 0xff) })
    // There is room again.
    _ = box.receive(Self.datagram(77), at: .zero)
    threads.stepAll()
    #expect(Self.numbers(box.collect()) == [77])
  }

  @Test func superPacketsAreBoundedByTheirMemory() throws {
    let threads = ManualThreads()
    var box = try Self.box([("any", [HopLimit(9)])], threads)
    let large = TCPPacket(
      from: Self.inside, to: Self.outside, sequence: 1, acknowledgement: 1, flags: .ack,
      payload: [UInt8](repeating: 7, count: 60_000))
    for _ in 0..<200 { _ = box.receive(large, isGSO: true, at: .zero) }
    let inUse = box.engine.statistics.memoryInUse
    #expect(inUse < 6 << 20)
    #expect(box.engine.statistics.engine.threadOverflows > 100)
    threads.stepAll()
    let left = box.collect()
    #expect(left.allSatisfy { $0.payload.count <= 536 })
    _ = box.receive(Self.datagram(1), at: .zero)
    #expect(box.engine.statistics.memoryInUse < 1 << 20)
  }

  @Test func superPacketIsCutIntoItsSegments() throws {
    let threads = ManualThreads()
    var box = try Self.box([("any", [HopLimit(9)])], threads)
    let payload = (0..<3_000).map { UInt8($0 & 0xff) }
    let packet = TCPPacket(
      from: Self.inside, to: Self.outside, sequence: .max - 99, acknowledgement: 1, flags: [.ack, .psh, .fin],
      payload: payload)
    #expect(box.receive(packet, isGSO: true, isChecksumTrusted: true, at: .zero).kind == .dropped)
    threads.stepAll()
    let left = box.collect()
    #expect(left.flatMap(\.payload) == payload)
    #expect(left.count == 6)
    let sequences: [UInt32] = (0..<6).map { packet.tcp.sequence &+ UInt32($0 * 536) }
    #expect(left.map(\.tcp.sequence) == sequences)
    #expect(left.dropLast().allSatisfy { $0.tcp.flags == .ack })
    #expect(left.last?.tcp.flags == [.ack, .psh, .fin])
    #expect(left.allSatisfy { $0.headers?.ip.hopLimit == 9 && $0.isChecksumRight && $0.isHeaderSound })
  }

  /// The kernel does not tell how long its datagrams are.
  @Test(arguments: [(Flow.FailurePolicy.pass, true), (.drop, false), (.reset, false)])
  func superPacketOfUDPGoesAsTheFlowSays(onFail: Flow.FailurePolicy, passes: Bool) throws {
    let threads = ManualThreads()
    var box = try Self.box([("any", [PacketModuleTests.HopReader()])], threads, onFail: onFail)
    #expect(box.receive(Self.datagram(1), isGSO: true, at: .zero).kind == (passes ? .accepted : .dropped))
    #expect(box.engine.statistics.engine.superDatagrams == 1)
    #expect(box.engine.statistics.modules[1]?.own[0] == 0)
    // Inline an editor changes it, and it is dropped then.
    box = try Self.box([("any", [HopLimit(9)])], threads, onFail: onFail)
    #expect(box.receive(Self.datagram(1), isGSO: true, at: .zero).kind == .dropped)
  }

  @Test func checksumThatIsYetToBeComputedIs() throws {
    let threads = ManualThreads()
    var box = try Self.box([("any", [PacketModuleTests.HopReader()])], threads)
    var packet = Self.datagram(1)
    packet.bytes[26] ^= 0xff
    _ = box.receive(packet, isChecksumTrusted: true, at: .zero)
    threads.stepAll()
    #expect(box.collect().first?.isChecksumRight == true)
  }

  // MARK: Changes while packets wait

  private static func configuration(
    _ modules: [(id: UInt32, module: any ProcessingModule)], revision: Int = 0, onFail: Flow.FailurePolicy = .pass
  ) -> Configuration {
    Configuration(flows: [
      Flow(
        id: 1, name: "f", match: .any, priority: 0, onFail: onFail,
        stages: modules.map { [AttachedModule($0.id, $0.module, run: .thread, revision: revision)] })
    ])
  }

  /// Numbers of what leaves, with the hop limits that the packets then have.
  private static func labels(_ packets: [TCPPacket]) -> [[UInt8]] {
    packets.map { [$0.bytes.last ?? 0, $0.headers?.ip.hopLimit ?? 0] }
  }

  @Test func detachLetsGoWhatWaitedInItsOrder() throws {
    let threads = ManualThreads()
    var box = try Self.box([], threads)
    box.engine.apply(Self.configuration([(1, HopLimit(9))]), at: .zero)
    for number in 1...3 as ClosedRange<UInt8> { _ = box.receive(Self.datagram(number), at: .zero) }
    box.engine.apply(Self.configuration([]), at: .zero)
    // What comes now queues up behind what waits.
    #expect(box.receive(Self.datagram(4), at: .zero).kind == .dropped)
    #expect(box.collect().isEmpty)
    threads.stepAll()
    #expect(Self.labels(box.collect()) == [[1, 64], [2, 64], [3, 64], [4, 64]])
    #expect(threads.count == 0)
    #expect(box.receive(Self.datagram(5), at: .zero).kind == .accepted)
    #expect(box.engine.statistics.memoryInUse < 1 << 20)
  }

  @Test func newParametersHoldForWhatHasNotBeenSeen() throws {
    let threads = ManualThreads()
    var box = try Self.box([], threads)
    box.engine.apply(Self.configuration([(1, AdoptingHopLimit(9))]), at: .zero)
    _ = box.receive(Self.datagram(1), at: .zero)
    threads.stepAll()
    _ = box.receive(Self.datagram(2), at: .zero)
    box.engine.apply(Self.configuration([(1, AdoptingHopLimit(5))], revision: 1), at: .zero)
    _ = box.receive(Self.datagram(3), at: .zero)
    threads.stepAll()
    #expect(Self.labels(box.collect()) == [[1, 9], [2, 5], [3, 5]])
  }

  struct AdoptingHopLimit: ProcessingModule {
    static let description = ModuleDescription(kind: "adopting", layer: .ip, access: .edit, help: "-")
    var limit: UInt8 = 0
    init(_ arguments: Arguments) {}
    init(_ limit: UInt8) { self.limit = limit }
    mutating func process(_ window: inout Window) { window.replace(8..<9, with: [limit]) }
    mutating func adopt(_ prototype: Self) { limit = prototype.limit }
  }

  @Test func moveAndAttachDoNotDisturbWhatIsUnderWay() throws {
    let threads = ManualThreads()
    var box = try Self.box([], threads)
    box.engine.apply(Self.configuration([(1, HopLimit(9)), (2, TypeOfService(1))]), at: .zero)
    _ = box.receive(Self.datagram(1), at: .zero)
    box.engine.apply(Self.configuration([(2, TypeOfService(1)), (1, HopLimit(8)), (3, HopLimit(7))]), at: .zero)
    _ = box.receive(Self.datagram(2), at: .zero)
    var left: [TCPPacket] = []
    for _ in 0..<6 {
      threads.stepAll()
      left += box.collect()
    }
    #expect(left.map { [$0.bytes.last ?? 0, $0.bytes[1]] } == [[1, 1], [2, 1]])
    // The first was with the old one when that was moved, and had met nothing else; nor did it meet the new one.
    #expect(left.map { $0.headers?.ip.hopLimit } == [64, 7])
    #expect(box.engine.statistics.memoryInUse < 1 << 20)
  }

  /// Adds to an octet that no other module touches: whoever meets it twice shows it.
  struct TypeOfService: ProcessingModule {
    static let description = ModuleDescription(kind: "tos", layer: .ip, access: .edit, help: "-")
    var step: UInt8 = 1
    init(_ arguments: Arguments) {}
    init(_ step: UInt8) { self.step = step }
    mutating func process(_ window: inout Window) { window.replace(1..<2, with: [window[1] &+ step]) }
  }

  @Test(arguments: [(Flow.FailurePolicy.pass, 4), (.drop, 1), (.reset, 1)])
  func failureDecidesOverWhatWaits(onFail: Flow.FailurePolicy, passing: Int) throws {
    let threads = ManualThreads()
    var box = try Self.box([("any", [Failing(at: 2)])], threads, onFail: onFail)
    for number in 1...4 as ClosedRange<UInt8> { _ = box.receive(Self.datagram(number), at: .zero) }
    threads.stepAll()
    let left = box.collect()
    #expect(left.filter { if case .udp = $0.headers?.transport { true } else { false } }.count == passing)
    #expect(left.count == (onFail == .reset ? 4 : passing))
    #expect(threads.count == 0)
    #expect(box.engine.statistics.engine.moduleFailures == 1)
    #expect(box.receive(Self.datagram(5), at: .zero).kind == (onFail == .pass ? .accepted : .dropped))
    #expect(box.engine.statistics.modules[1]?.own == [2])
    #expect(box.engine.statistics.memoryInUse < 1 << 20)
  }

  @Test func flowThatIsGoneLetsGoWhatWaited() throws {
    let threads = ManualThreads()
    var box = try Self.box([("any", [HopLimit(9)])], threads)
    _ = box.receive(Self.datagram(1), at: .zero)
    box.engine.apply(.empty, at: .zero)
    threads.stepAll()
    #expect(Self.labels(box.collect()) == [[1, 64]])
    #expect(threads.count == 0)
  }

  @Test func moduleWithoutAThreadHasFailed() throws {
    let threads = ManualThreads(limit: 0)
    var box = try Self.box([("any", [HopLimit(9)])], threads)
    #expect(box.receive(Self.datagram(1), at: .zero).kind == .accepted)
    #expect(box.engine.statistics.engine.moduleFailures == 1)
  }

  // MARK: What leaves is too long, or cannot leave anew

  @Test(arguments: [(inside, outside), (PacketModuleTests.inside6, PacketModuleTests.outside6)])
  func datagramThatTheKernelPutTogetherIsCutAgain(ends: (Endpoint, Endpoint)) throws {
    let threads = ManualThreads()
    var box = try Self.box([("any", [PacketModuleTests.HopReader()])], threads)
    box.interfaceMTU = 1_500
    let payload = (0..<4_000).map { UInt8($0 & 0xff) }
    let source = Endpoint(address: ends.0.address, port: 5_000)
    let destination = Endpoint(address: ends.0.address.isIPv4 ? ends.1.address : IPAddress("fd00::2")!, port: 53)
    let packet = IPPacket.udp(from: source, to: destination, payload)
    _ = box.receive(packet, at: .zero)
    threads.stepAll()
    let fragments = box.collect()
    #expect(fragments.count == 3)
    #expect(fragments.allSatisfy { $0.bytes.count <= 1_500 && $0.isHeaderSound })
    let header = source.address.isIPv4 ? 20 : 48
    #expect(fragments.flatMap { $0.bytes[header...] } == Array(packet.bytes[(source.address.isIPv4 ? 20 : 40)...]))
    var offset = 0
    for (index, fragment) in fragments.enumerated() {
      let field =
        UInt16(fragment.bytes[source.address.isIPv4 ? 6 : 42]) << 8
        | UInt16(fragment.bytes[source.address.isIPv4 ? 7 : 43])
      let isLast = index == fragments.count - 1
      #expect(
        field == UInt16(source.address.isIPv4 ? offset / 8 : offset) | (isLast ? 0 : source.address.isIPv4 ? 0x2000 : 1)
      )
      offset += fragment.bytes.count - header
    }
  }

  @Test func whatIsOfALinkPassesUnseen() throws {
    let threads = ManualThreads()
    var box = try Self.box([("any", [HopLimit(9)])], threads, onFail: .drop)
    let ends = [
      ("fe80::1", "fd00::1"), ("fd00::1", "ff02::1"), ("169.254.1.1", "10.0.0.1"), ("10.0.0.1", "224.0.0.1"),
      ("10.0.0.1", "255.255.255.255"),
    ].map { (IPAddress($0.0)!, IPAddress($0.1)!) }
    for (source, destination) in ends {
      let packet = IPPacket.packet(from: source, to: destination, 47, [1, 2, 3])
      #expect(box.receive(packet, at: .zero).kind == .accepted)
    }
    let solicitation = IPPacket.icmp(
      from: IPAddress("fd00::1")!, to: IPAddress("fd00::2")!, type: 135, [UInt8](repeating: 0, count: 20))
    #expect(box.receive(solicitation, at: .zero).kind == .accepted)
    #expect(box.engine.statistics.engine.threadUnseen == 6)
    #expect(box.engine.statistics.modules[1]?.own[0] == 0)
  }
}

extension Twins {
  init(_ flows: [(match: String, modules: [any ProcessingModule])], onFail: Flow.FailurePolicy = .pass) throws {
    self.init()
    threaded.allowsDamage = true
    try configure(flows, onFail: onFail)
  }

  mutating func configure(
    _ flows: [(match: String, modules: [any ProcessingModule])], onFail: Flow.FailurePolicy = .pass
  ) throws {
    try inline.configure(flows: flows, onFail: onFail)
    try threaded.configure(flows: flows, onFail: onFail, packetsRun: .thread)
  }
}
