import Testing

@testable import Engine

/// Modules of the layer `ip`.
@Suite struct PacketModuleTests {
  static let inside = Endpoint(address: IPAddress("10.0.0.1")!, port: 5_000)
  static let outside = Endpoint(address: IPAddress("10.0.1.2")!, port: 53)
  static let inside6 = Endpoint(address: IPAddress("fd00::1")!, port: 5_000)
  static let outside6 = Endpoint(address: IPAddress("fe00::2")!, port: 53)

  static let kinds: [TCPPacket] = [
    IPPacket.udp(from: inside, to: outside, [1, 2, 3]), IPPacket.udp(from: inside6, to: outside6, [1, 2, 3, 4]),
    IPPacket.icmp(from: inside.address, to: outside.address, type: 8, [0, 1, 0, 2, 3, 4, 5]),
    IPPacket.icmp(from: inside6.address, to: outside6.address, type: 128, [0, 1, 0, 2, 3, 4, 5]),
    IPPacket.packet(from: inside.address, to: outside.address, 47, [1, 2, 3]),
    IPPacket.packet(from: inside.address, to: outside.address, 17, [1, 2, 3, 4, 5, 6, 7, 8], fragmentation: 0x2000),
    TCPPacket(from: inside, to: outside, sequence: 1, flags: .syn),
    TCPPacket(from: inside, to: outside, sequence: 1, acknowledgement: 7, flags: .ack, payload: [1, 2, 3]),
  ]

  @Test(arguments: kinds.indices) func editedPacketHasRightChecksums(index: Int) throws {
    var box = Middlebox()
    try box.configure([HopLimit(9), Translator()])
    let packet = Self.kinds[index]
    let outcome = box.receive(packet, at: .zero)
    #expect(outcome.kind == .mangled)
    let changed = try #require(outcome.packet)
    #expect(changed.headers?.ip.hopLimit == 9)
    #expect(changed.headers?.ip.source == IPAddress(packet.headers!.ip.isIPv6 ? "2001::1" : "192.0.2.1"))
    #expect(changed.bytes.count == packet.bytes.count)
    #expect(changed.headers?.payloadLength == packet.headers?.payloadLength)
  }

  @Test func datagramWithoutChecksumStaysWithout() throws {
    var box = Middlebox()
    try box.configure([Translator()])
    let outcome = box.receive(IPPacket.udp(from: Self.inside, to: Self.outside, [1], hasChecksum: false), at: .zero)
    #expect(outcome.packet?.bytes[26..<28] == [0, 0])
  }

  @Test func checksumOfAnUnsoundPacketIsLeftToTheModule() throws {
    var box = Middlebox()
    try box.configure([HopLimit(9)])
    var packet = IPPacket.udp(from: Self.inside, to: Self.outside, [1, 2, 3])
    packet.bytes[28] ^= 0xff
    let outcome = box.receive(packet, isSound: false, at: .zero)
    var expected = packet.bytes
    expected[8] = 9
    #expect(outcome.packet?.bytes == expected)
    #expect(box.engine.statistics.modules[1]?.own == [1, 1, 0])
  }

  @Test func whatIsMalformedPassesUnseen() throws {
    var box = Middlebox()
    try box.configure([HopLimit(9)])
    #expect(box.receive(TCPPacket([0x45, 0, 0, 3]), at: .zero).kind == .accepted)
    #expect(box.engine.statistics.modules[1]?.own == [0, 0, 0])
    #expect(box.engine.statistics.engine.malformed == 1)
  }

  @Test func readersOfAStageSeeItBeforeItsEditor() throws {
    var box = Middlebox()
    let modules: [any ProcessingModule] = [HopLimit(9), HopReader()]
    let stage = modules.enumerated().map { AttachedModule(id: UInt32($0.offset + 1), name: "m", prototype: $0.element) }
    box.engine.apply(
      Configuration(flows: [Flow(id: 1, name: "f", match: .any, priority: 0, stages: [stage])]), at: .zero)
    _ = box.receive(Self.kinds[0], at: .zero)
    #expect(box.engine.statistics.modules[2]?.own == [64])
  }

  /// Adds up the hop limits that it sees.
  struct HopReader: ProcessingModule {
    static let description = ModuleDescription(
      kind: "hop-reader", layer: .ip, access: .read, counters: ["sum"], help: "-")
    init(_ arguments: Arguments) {}
    init() {}
    mutating func process(_ window: inout Window) { window.count(0, by: Int(window[8])) }
  }

  // MARK: Translation, in front of TCP and behind it

  /// The client is known as 192.0.2.1 outside. Its stream is edited inside or outside of that.
  @Test(arguments: [true, false]) func connectionIsTranslatedAndEdited(isEditedOutside: Bool) throws {
    let editor = ByteEditor(rule: [UInt8(ascii: "a"): Array("long".utf8)])
    let modules: [any ProcessingModule] = isEditedOutside ? [Translator(), editor] : [editor, Translator()]
    var box = Middlebox()
    try box.configure(flows: [("ip,ipv4_src=10.0.0.1", modules)])
    let client = Endpoint(address: IPAddress("10.0.0.1")!, port: 40_000)
    let known = Endpoint(address: IPAddress("192.0.2.1")!, port: 40_000)
    let server = Endpoint(address: IPAddress("10.0.1.2")!, port: 80)
    func send(_ packet: TCPPacket, _ box: inout Middlebox) -> [TCPPacket] {
      let outcome = box.receive(packet, at: .zero)
      return ([outcome.packet].compactMap { $0 } + outcome.injected)
    }
    let syn = send(TCPPacket(from: client, to: server, sequence: 1_000, flags: .syn), &box)
    #expect(syn.map(\.line) == ["192.0.2.1:40000 > 10.0.1.2:80 tcp"])
    let answer = send(
      TCPPacket(from: server, to: known, sequence: 5_000, acknowledgement: 1_001, flags: [.syn, .ack]), &box)
    #expect(answer.map(\.line) == ["10.0.1.2:80 > 10.0.0.1:40000 tcp"])
    _ = send(TCPPacket(from: client, to: server, sequence: 1_001, acknowledgement: 5_001, flags: .ack), &box)
    let data = send(
      TCPPacket(
        from: client, to: server, sequence: 1_001, acknowledgement: 5_001, flags: .ack, payload: Array("xay".utf8)),
      &box)
    #expect(data.map(\.line) == ["192.0.2.1:40000 > 10.0.1.2:80 tcp"])
    #expect(data.first.map { String(decoding: $0.payload, as: UTF8.self) } == "xlongy")
    let told = send(
      TCPPacket(from: server, to: known, sequence: 5_001, acknowledgement: 1_007, flags: .ack), &box)
    #expect(told.map(\.line) == ["10.0.1.2:80 > 10.0.0.1:40000 tcp"])
    #expect(told.first?.tcp.acknowledgement == 1_004)
    // What the server has not acknowledged comes again, as it first left.
    let more = TCPPacket(
      from: client, to: server, sequence: 1_004, acknowledgement: 5_001, flags: .ack, payload: Array("a".utf8))
    #expect(send(more, &box).first.map { String(decoding: $0.payload, as: UTF8.self) } == "long")
    let again = send(more, &box)
    #expect(again.map(\.line) == ["192.0.2.1:40000 > 10.0.1.2:80 tcp"])
    #expect(again.first.map { String(decoding: $0.payload, as: UTF8.self) } == "long")
    let info = try #require(box.engine.connections(limit: 1).first)
    #expect(info.clientAddress == (isEditedOutside ? known : client).address)
    #expect(info.toServer.flow == 1)
  }

  /// What the engine sends by itself goes through the same modules: the octets that find no room in their packet.
  @Test func injectionsAreTranslated() throws {
    let editor = ByteEditor(rule: [UInt8(ascii: "a"): [UInt8](repeating: 1, count: 800)])
    var box = Middlebox()
    try box.configure(flows: [("ip,ipv4_src=10.0.0.1", [editor, Translator()])])
    let client = Endpoint(address: IPAddress("10.0.0.1")!, port: 40_000)
    let known = Endpoint(address: IPAddress("192.0.2.1")!, port: 40_000)
    let server = Endpoint(address: IPAddress("10.0.1.2")!, port: 80)
    let segment: [UInt8] = [2, 4, 3, 232]
    _ = box.receive(TCPPacket(from: client, to: server, sequence: 1_000, flags: .syn, options: segment), at: .zero)
    _ = box.receive(
      TCPPacket(
        from: server, to: known, sequence: 5_000, acknowledgement: 1_001, flags: [.syn, .ack], options: segment),
      at: .zero)
    _ = box.receive(
      TCPPacket(from: client, to: server, sequence: 1_001, acknowledgement: 5_001, flags: .ack), at: .zero)
    let outcome = box.receive(
      TCPPacket(
        from: client, to: server, sequence: 1_001, acknowledgement: 5_001, flags: .ack, payload: Array("aa".utf8)),
      at: .zero)
    #expect(outcome.packets.map(\.line) == Array(repeating: "192.0.2.1:40000 > 10.0.1.2:80 tcp", count: 2))
    #expect(outcome.packets.map(\.payload.count) == [1_000, 600])
    #expect(outcome.packets.allSatisfy { $0.isSound })
    // Connection tracking knows the connection by other ends.
    #expect(box.injectedMarks.map { $0 & Marks.standard.untracked } == [Marks.standard.untracked])
  }

  @Test(arguments: [true, false]) func trackingIsToldOfTheEndsThatPacketsComeWith(isEditedOutside: Bool) throws {
    let editor = ByteEditor(rule: [1: []])
    let modules: [any ProcessingModule] = isEditedOutside ? [Translator(), editor] : [editor, Translator()]
    var box = Middlebox()
    try box.configure(flows: [("ip,ipv4_src=10.0.0.1", modules)])
    let known = Endpoint(address: IPAddress("192.0.2.1")!, port: Self.inside.port)
    _ = box.receive(TCPPacket(from: Self.inside, to: Self.outside, sequence: 1_000, flags: .syn), at: .zero)
    let announced = box.receiveAnnouncing(
      TCPPacket(from: Self.outside, to: known, sequence: 5_000, acknowledgement: 1_001, flags: [.syn, .ack]),
      at: .zero)
    #expect(announced.map(\.clientAddress) == [Self.inside.address])
    #expect(announced.map(\.serverAddress) == [Self.outside.address])
  }

  @Test func peerSeesPacketsOfOtherFlowsAndOfNone() throws {
    for match in ["udp,udp_src=53", "udp,udp_src=54"] {
      var box = Middlebox()
      try box.configure(flows: [("ip,ipv4_src=10.0.0.1", [Translator()]), (match, [HopLimit(9)])])
      let known = Endpoint(address: IPAddress("192.0.2.1")!, port: 5_000)
      let outcome = box.receive(IPPacket.udp(from: Self.outside, to: known, [1]), at: .zero)
      #expect(outcome.packet?.line == "10.0.1.2:53 > 10.0.0.1:5000 udp")
    }
  }

  @Test func superPacketStaysWhole() throws {
    var box = Middlebox()
    try box.configure([HopLimit(9)])
    let packet = TCPPacket(
      from: Self.inside, to: Self.outside, sequence: 1, flags: .ack, payload: [UInt8](repeating: 1, count: 40_000))
    let outcome = box.receive(packet, isGSO: true, isChecksumTrusted: true, at: .zero)
    #expect(outcome.packet?.payload.count == 40_000)
  }

  /// A mangled super-packet of UDP would be lost in the kernel without a word.
  @Test func changedSuperPacketOfUDPIsDroppedAndCounted() throws {
    var box = Middlebox()
    try box.configure([HopLimit(9)])
    #expect(box.receive(Self.kinds[0], isGSO: true, at: .zero).kind == .dropped)
    #expect(box.engine.statistics.engine.superDatagrams == 1)
    try box.configure([HopReader()])
    #expect(box.receive(Self.kinds[0], isGSO: true, at: .zero).kind == .accepted)
  }

  /// The octets of a packet that a stream keeps stay as they are when a module changes the packet on its way out.
  @Test func whatIsKeptOfAPacketStaysAsItIs() throws {
    var conversation = try Conversation.established([ByteEditor(rule: [:]), PayloadEditor()])
    #expect(conversation.fromClient(0, "one", acknowledging: 0).out == ["client . 0 ack 0 'Xne'"])
    #expect(conversation.fromClient(0, "one", acknowledging: 0).out == ["client . 0 ack 0 'Xne'"])
  }

  /// Changes the first octet of the payload.
  struct PayloadEditor: ProcessingModule {
    static let description = ModuleDescription(kind: "payload", layer: .ip, access: .edit, help: "-")
    init(_ arguments: Arguments) {}
    init() {}
    mutating func process(_ window: inout Window) {
      guard let packet = window.packet, window.count > packet.payloadOffset else { return }
      let at = packet.payloadOffset..<packet.payloadOffset + 1
      window.replace(at, with: window[at.lowerBound] == UInt8(ascii: "X") ? [UInt8(ascii: "?")] : [UInt8(ascii: "X")])
    }
  }

  // MARK: Failures

  @Test func failedModuleIsOutUntilItIsSet() throws {
    var box = Middlebox()
    try box.configure([Failing(at: 1)])
    for _ in 0..<3 { #expect(box.receive(Self.kinds[0], at: .zero).kind == .accepted) }
    #expect(box.engine.statistics.modules[1]?.own == [1])
    #expect(box.engine.statistics.engine.moduleFailures == 1)
    let set = AttachedModule(id: 1, name: "m0", revision: 1, prototype: Failing(at: 9))
    box.engine.apply(
      Configuration(flows: [Flow(id: 1, name: "f", match: .any, priority: 0, stages: [[set]])]), at: .zero)
    for _ in 0..<3 { #expect(box.receive(Self.kinds[0], at: .zero).kind == .accepted) }
    #expect(box.engine.statistics.modules[1]?.own == [4])
  }

  @Test func failedModuleStopsItsFlowWhereThatIsAskedFor() throws {
    var box = Middlebox()
    try box.configure(flows: [("udp", [Failing(at: 2)])], onFail: .drop)
    #expect(box.receive(Self.kinds[0], at: .zero).kind == .accepted)
    #expect(box.receive(Self.kinds[0], at: .zero).kind == .dropped)
    #expect(box.receive(Self.kinds[0], at: .zero).kind == .dropped)
    #expect(box.receive(Self.kinds[2], at: .zero).kind == .accepted)
    try box.configure(flows: [("udp", [Failing(at: 1)])], onFail: .reset)
    let outcome = box.receive(Self.kinds[0], at: .zero)
    #expect(outcome.kind == .dropped)
    #expect(outcome.injected.map(\.line) == ["10.0.1.2 > 10.0.0.1 icmp 3/13"])
  }

  @Test func packetThatAModuleHasRuinedDoesNotLeave() throws {
    var box = Middlebox()
    try box.configure([Ruin()])
    #expect(box.receive(Self.kinds[0], at: .zero).kind == .dropped)
    #expect(box.receive(Self.kinds[0], at: .zero).kind == .accepted)
  }

  struct Ruin: ProcessingModule {
    static let description = ModuleDescription(kind: "ruin", layer: .ip, access: .edit, help: "-")
    init(_ arguments: Arguments) {}
    init() {}
    mutating func process(_ window: inout Window) { window.replace(0..<1, with: [0x4f]) }
  }

  // MARK: Refusals

  @Test(arguments: [
    (0, "10.0.1.2 > 10.0.0.1 icmp 3/13"), (1, "fe00::2 > fd00::1 icmp 1/1"), (2, "10.0.1.2 > 10.0.0.1 icmp 3/13"),
    (3, "fe00::2 > fd00::1 icmp 1/1"), (4, "10.0.1.2 > 10.0.0.1 icmp 3/13"), (5, "10.0.1.2 > 10.0.0.1 icmp 3/13"),
  ])
  func sourceOfARefusedPacketIsTold(index: Int, answer: String) throws {
    var box = Middlebox()
    try box.configure([Refuser()])
    let outcome = box.receive(Self.kinds[index], at: .zero)
    #expect(outcome.kind == .dropped)
    #expect(outcome.injected.map(\.line) == [answer])
    let error = try #require(outcome.injected.first)
    #expect(error.isHeaderSound)
    #expect(Array(error.payload) == Self.kinds[index].bytes)
  }

  @Test func resetHasTheNumbersThatItsSourceTakes() throws {
    var box = Middlebox()
    try box.configure([Refuser()])
    let syn = box.receive(Self.kinds[6], at: .zero).injected
    #expect(syn.map(\.line) == ["10.0.1.2:53 > 10.0.0.1:5000 tcp"])
    #expect(syn.first?.tcp.flags == [.rst, .ack])
    #expect(syn.first?.tcp.sequence == 0)
    #expect(syn.first?.tcp.acknowledgement == 2)
    let data = box.receive(Self.kinds[7], at: .zero).injected
    #expect(data.first?.tcp.flags == .rst)
    #expect(data.first?.tcp.sequence == 7)
  }

  @Test func whatMustNotBeAnsweredIsNot() throws {
    var box = Middlebox()
    try box.configure([Refuser()])
    let (inside, outside) = (Self.inside, Self.outside)
    let silent = [
      TCPPacket(from: inside, to: outside, sequence: 1, flags: .rst),
      IPPacket.icmp(
        from: inside.address, to: outside.address, type: 3, [0, 0, 0, 0] + Self.kinds[0].bytes),
      IPPacket.icmp(from: Self.inside6.address, to: Self.outside6.address, type: 1, [0, 0, 0, 0]),
      IPPacket.udp(from: inside, to: Endpoint(address: IPAddress("224.0.0.1")!, port: 1), [1]),
      IPPacket.udp(from: inside, to: Endpoint(address: IPAddress("255.255.255.255")!, port: 1), [1]),
      IPPacket.udp(from: Endpoint(address: IPAddress("0.0.0.0")!, port: 1), to: outside, [1]),
      IPPacket.udp(from: Self.inside6, to: Endpoint(address: IPAddress("ff02::1")!, port: 1), [1]),
      IPPacket.packet(from: inside.address, to: outside.address, 17, [1, 2, 3, 4, 5, 6, 7, 8], fragmentation: 0x2001),
    ]
    for packet in silent {
      let outcome = box.receive(packet, at: .zero)
      #expect(outcome.kind == .dropped)
      #expect(outcome.injected.isEmpty, "\(packet.line)")
    }
  }

  @Test func refusalsAreBounded() throws {
    var box = Middlebox()
    try box.configure([Refuser()])
    var answers = 0
    for _ in 0..<200 { answers += box.receive(Self.kinds[0], at: .zero).injected.count }
    #expect(answers == 50)
    answers = 0
    for _ in 0..<200 { answers += box.receive(Self.kinds[0], at: .zero + .milliseconds(10)).injected.count }
    #expect(answers == 10)
  }

  @Test func refusalGoesBackThroughTheTranslation() throws {
    for modules in [[Translator(), Refuser()], [Translator(), ByteEditor(rule: [:]), Refuser()]]
      as [[any ProcessingModule]]
    {
      var box = Middlebox()
      try box.configure(flows: [("ip,ipv4_src=10.0.0.1", modules)])
      for (index, answer) in [(0, "10.0.1.2 > 10.0.0.1 icmp 3/13"), (6, "10.0.1.2:53 > 10.0.0.1:5000 tcp")] {
        #expect(box.receive(Self.kinds[index], at: .zero).injected.map(\.line) == [answer])
      }
    }
  }

  @Test func silentRefusalIsSilent() throws {
    var box = Middlebox()
    try box.configure([Refuser(isTelling: false)])
    let outcome = box.receive(Self.kinds[0], at: .zero)
    #expect(outcome.kind == .dropped)
    #expect(outcome.injected.isEmpty)
  }
}
