import Testing

@testable import Engine

/// Stream modules on datagrams of UDP.
@Suite struct DatagramTests {
  static let client = Endpoint(address: IPAddress("10.0.0.1")!, port: 5_000)
  static let server = Endpoint(address: IPAddress("10.0.1.2")!, port: 53)
  static let client6 = Endpoint(address: IPAddress("fd00::1")!, port: 5_000)
  static let server6 = Endpoint(address: IPAddress("fd00::2")!, port: 53)

  static func text(_ outcome: Middlebox.Outcome) -> String? {
    outcome.packet.map { String(decoding: $0.payload, as: UTF8.self) }
  }

  static func datagram(_ text: String, from source: Endpoint = client, to destination: Endpoint = server) -> TCPPacket {
    IPPacket.udp(from: source, to: destination, Array(text.utf8))
  }

  @Test("32. payloads are edited, with length and checksum", arguments: [(client, server), (client6, server6)])
  func row32_payloadIsEditedDatagramByDatagram(client: Endpoint, server: Endpoint) throws {
    var box = Middlebox()
    try box.configure([ByteEditor(rule: [UInt8(ascii: "a"): Array("long".utf8), UInt8(ascii: "c"): []], hold: 5)])
    for (before, after) in [("xax", "xlongx"), ("abc", "longb"), ("bcb", "bb"), ("b", "b"), ("c", ""), ("", "")] {
      let outcome = box.receive(Self.datagram(before, from: client, to: server), at: .zero)
      #expect(Self.text(outcome) == after)
      #expect(outcome.kind == (before == after ? .accepted : .mangled))
      #expect(outcome.packet?.isChecksumRight == true)
      #expect(outcome.packet?.headers?.udp.map { Int($0.length) } == 8 + after.count)
    }
  }

  @Test(arguments: [("a", 0), ("x", 0x40), ("c", 0x40)])
  func whatHasGrownMayBeCut(text: String, flags: UInt8) throws {
    var box = Middlebox()
    try box.configure([ByteEditor(rule: [UInt8(ascii: "a"): Array("bb".utf8), UInt8(ascii: "c"): []])])
    let datagram = Self.datagram(text)
    let packet = IPPacket.packet(
      from: Self.client.address, to: Self.server.address, 17, Array(datagram.bytes[20...]), fragmentation: 0x4000)
    #expect(box.receive(packet, at: .zero).packet?.bytes[6] == flags)
  }

  @Test func datagramWithoutChecksumStaysWithout() throws {
    var box = Middlebox()
    try box.configure([ByteEditor(rule: [1: [2, 3]])])
    let outcome = box.receive(IPPacket.udp(from: Self.client, to: Self.server, [1], hasChecksum: false), at: .zero)
    #expect(outcome.packet.map { Array($0.bytes.suffix(8)) } == [0, 53, 0, 10, 0, 0, 2, 3])
  }

  @Test func damagedDatagramPassesUnseen() throws {
    var box = Middlebox()
    try box.configure([ByteEditor(rule: [1: [2, 3]])])
    var packet = IPPacket.udp(from: Self.client, to: Self.server, [1])
    packet.bytes[29 - 1] = 1
    packet.bytes[26] ^= 1
    #expect(box.receive(packet, at: .zero).kind == .accepted)
    #expect(box.engine.statistics.engine.badChecksum == 1)
  }

  /// Counts what its own and the peer direction bring, per association; edits answers to what it has been asked.
  struct Resolver: ProcessingModule {
    static let description = ModuleDescription(
      kind: "resolver", access: .edit, peer: true, counters: ["questions", "answers"], help: "-")
    private var asked: [UInt8] = []
    init(_ arguments: Arguments) {}
    init() {}
    mutating func process(_ window: inout Window) {
      window.count(0)
      asked += window.copy(0..<window.count)
      window.releaseAll()
    }
    mutating func processPeer(_ window: inout Window) {
      window.count(1)
      window.replace(0..<window.count, with: asked)
      window.releaseAll()
    }
  }

  @Test func peerDirectionSharesTheStateOfItsAssociation() throws {
    var box = Middlebox()
    try box.configure(flows: [("udp,udp_dst=53", [Resolver()])])
    let other = Endpoint(address: IPAddress("10.0.0.1")!, port: 5_001)
    _ = box.receive(Self.datagram("one", from: Self.client), at: .zero)
    _ = box.receive(Self.datagram("two", from: other), at: .zero)
    #expect(Self.text(box.receive(Self.datagram("?", from: Self.server, to: Self.client), at: .zero)) == "one")
    #expect(Self.text(box.receive(Self.datagram("?", from: Self.server, to: other), at: .zero)) == "two")
    #expect(box.engine.statistics.modules[1]?.own == [2, 2])
    let list = box.engine.connections(limit: 9)
    #expect(list.map(\.state) == ["udp", "udp"])
    #expect(list.map(\.clientPort) == [5_000, 5_001])
    #expect(list.map(\.toServer.octetsIn) == [3, 3])
    #expect(list.map(\.toClient.octetsOut) == [3, 3])
  }

  /// Does what the first octet asks for.
  struct Obedient: ProcessingModule {
    struct Reason: Error {}
    static let description = ModuleDescription(kind: "obedient", access: .edit, counters: ["seen"], help: "-")
    init(_ arguments: Arguments) {}
    init() {}
    mutating func process(_ window: inout Window) throws {
      window.count(0)
      switch window[0] {
      case UInt8(ascii: "D"): window.drop()
      case UInt8(ascii: "R"): window.reset()
      case UInt8(ascii: "O"): window.offload()
      case UInt8(ascii: "T"): throw Reason()
      case UInt8(ascii: "G"): window.insert([UInt8](repeating: 1, count: 65_600), at: 0)
      default: break
      }
      window.releaseAll()
    }
  }

  @Test func oneDatagramIsDroppedOrRefused() throws {
    var box = Middlebox()
    try box.configure([Obedient()])
    #expect(box.receive(Self.datagram("D"), at: .zero).kind == .dropped)
    let refused = box.receive(Self.datagram("R"), at: .zero)
    #expect(refused.kind == .dropped)
    #expect(refused.injected.map(\.line) == ["10.0.1.2 > 10.0.0.1 icmp 3/13"])
    #expect(box.receive(Self.datagram("x"), at: .zero).kind == .accepted)
  }

  @Test func moduleWithoutInterestIsLeftAlone() throws {
    var box = Middlebox()
    try box.configure([Obedient()])
    for text in ["O", "D", "D"] { #expect(box.receive(Self.datagram(text), at: .zero).kind == .accepted) }
    #expect(box.engine.statistics.modules[1]?.own == [1])
  }

  @Test(arguments: ["T", "G"]) func failureTakesTheModuleOutOfTheAssociation(text: String) throws {
    var box = Middlebox()
    try box.configure([Obedient()])
    #expect(Self.text(box.receive(Self.datagram(text), at: .zero)) == text)
    #expect(box.receive(Self.datagram("D"), at: .zero).kind == .accepted)
    #expect(box.engine.statistics.engine.moduleFailures == 1)
    // Another association has a module of its own.
    let other = Endpoint(address: IPAddress("10.0.0.9")!, port: 1)
    #expect(box.receive(Self.datagram("D", from: other), at: .zero).kind == .dropped)

    try box.configure(flows: [("any", [Obedient()])], onFail: .drop)
    for text in [text, "x"] { #expect(box.receive(Self.datagram(text), at: .zero).kind == .dropped) }
    #expect(box.receive(Self.datagram("x", from: other), at: .zero).kind == .accepted)
  }

  @Test func superPacketIsReadAndNotEdited() throws {
    var box = Middlebox()
    try box.configure([Reader(), ByteEditor(rule: [UInt8(ascii: "a"): []])])
    #expect(box.receive(Self.datagram("aaaa"), isGSO: true, at: .zero).kind == .accepted)
    #expect(box.engine.statistics.modules[1]?.own == [4])
  }

  @Test func associationsAreForgotten() throws {
    var settings = Settings()
    settings.associationLimit = 2
    var box = Middlebox(settings)
    try box.configure([Reader()])
    func port(_ number: UInt16) -> Endpoint { Endpoint(address: Self.client.address, port: number) }
    for (second, number) in [1, 2, 1, 3].enumerated() {
      _ = box.receive(
        Self.datagram("x", from: port(UInt16(number))), at: .zero + .seconds(Int64(second)))
    }
    #expect(Set(box.engine.connections(limit: 9).map(\.clientPort)) == [1, 3])
    #expect(box.engine.nextDeadline == .zero + .seconds(182))
    _ = box.advance(to: .zero + .seconds(182))
    #expect(box.engine.connections(limit: 9).map(\.clientPort) == [3])
    _ = box.advance(to: .zero + .seconds(183))
    #expect(box.engine.connections(limit: 9).isEmpty)
    #expect(box.engine.nextDeadline == nil)
    #expect(box.engine.statistics.engine.associationsOpened == 3)
    #expect(box.engine.statistics.engine.associationsClosed == 3)
  }

  @Test func moduleComesAndGoesOnARunningAssociation() throws {
    var box = Middlebox()
    try box.configure([Reader()])
    #expect(Self.text(box.receive(Self.datagram("a"), at: .zero)) == "a")
    try box.configure([ByteEditor(rule: [UInt8(ascii: "a"): Array("bb".utf8)])])
    #expect(Self.text(box.receive(Self.datagram("a"), at: .zero)) == "bb")
    try box.configure([])
    #expect(Self.text(box.receive(Self.datagram("a"), at: .zero)) == "a")
  }

  @Test func moduleThatReadsFromAStreamTakesNoPartWhichIsCountedAndTold() throws {
    var box = Middlebox()
    try box.configure([Blocking(), ByteEditor(rule: [UInt8(ascii: "a"): Array("bb".utf8)])])
    for _ in 0..<3 { #expect(Self.text(box.receive(Self.datagram("a"), at: .zero)) == "bb") }
    let unseen = box.engine.statistics.modules.mapValues(\.common.unseen)
    #expect(unseen == [1: 3, 2: 0])
    let id = try #require(box.engine.connections(limit: 1).first?.id)
    let modules = try #require(box.engine.connection(id)?.modules)
    #expect(modules.map(\.id) == [2, 1])
    #expect(modules[1].state == "skipped: it reads from a stream (run), and there is none in UDP")
    // Once, however many associations there are.
    _ = box.receive(Self.datagram("a", from: Endpoint(address: Self.client.address, port: 7)), at: .zero)
    #expect(box.events.map(\.content.name) == ["skipped"])
    #expect(box.events.first?.module == 1)
    #expect(box.engine.statistics.engine.moduleFailures == 0)
  }

  @Test func superPacketsThatAnEditorIsNotShownAreCounted() throws {
    var box = Middlebox()
    try box.configure([Reader(), ByteEditor(rule: [:])])
    _ = box.receive(Self.datagram("aaaa"), isGSO: true, at: .zero)
    #expect(box.engine.statistics.modules.mapValues(\.common.unseen) == [1: 0, 2: 1])
  }

  struct Blocking: ProcessingModule {
    static let description = ModuleDescription(kind: "blocking", access: .read, needsThread: true, help: "-")
    init(_ arguments: Arguments) {}
    init() {}
    mutating func run(_ window: inout Window) { while window.read() { window.releaseAll() } }
  }

  @Test func nothingIsKept() throws {
    var box = Middlebox()
    try box.configure([ByteEditor(rule: [UInt8(ascii: "a"): Array("bb".utf8)]), Obedient()])
    _ = box.receive(Self.datagram("x"), at: .zero)
    let before = box.engine.statistics.memoryInUse
    for text in ["a", "D", "R", "aa", "T", "a"] { _ = box.receive(Self.datagram(text), at: .zero) }
    _ = unsafe box.engine.receiveBuffers(1)
    #expect(box.engine.statistics.memoryInUse - before <= 2_048)
  }
}
