import Testing

@testable import Engine

/// Connections that leave for the kernel, for no module has an interest in them any more.
@Suite struct OffloadTests {
  /// Has no more interest once it has seen a `!`; puts `x` for each `e` where it edits.
  struct Leaving: ProcessingModule {
    static let description = ModuleDescription(kind: "leaving", access: .edit, help: "-")
    var access: ModuleDescription.Access
    init(_ arguments: Arguments) { access = .read }
    init(_ access: ModuleDescription.Access = .edit) { self.access = access }
    mutating func process(_ window: inout Window) {
      while access == .edit, let found = window.find("e") { window.remove(found..<found + 1) }
      if window.find("!") != nil { window.offload() }
      window.releaseAll()
    }
  }

  /// Looks at packets and does nothing.
  struct Watcher: ProcessingModule {
    static let description = ModuleDescription(kind: "watcher", layer: .ip, access: .read, help: "-")
    init(_ arguments: Arguments) {}
    init() {}
  }

  private static func answer(_ text: String) -> TCPPacket {
    DatagramTests.datagram(text, from: DatagramTests.server, to: DatagramTests.client)
  }
  private static let offloaded = Marks.standard.offloaded
  private func state(_ talk: borrowing Conversation) -> String? { talk.box.engine.connections(limit: 1).first?.state }

  @Test func bothDirectionsAreMarkedOnceWhatWasReadHasArrived() throws {
    var talk = try Conversation.established([Leaving()])
    #expect(talk.fromServer(0, "a!").mark == nil)
    // The other direction's module has not spoken.
    #expect(talk.fromClient(0, "b", acknowledging: 2).mark == nil)
    #expect(talk.fromClient(1, "!", acknowledging: 2).mark == nil)
    // Behind what was read more may be on its way.
    #expect(talk.fromServer(2, "more", acknowledging: 1).mark == nil)
    let last = talk.fromServer(6, "more", acknowledging: 2, mark: 5)
    #expect(last.kind == .accepted)
    #expect(last.mark == 5 | Self.offloaded)
    #expect(state(talk) == "offloaded")
    #expect(talk.box.engine.statistics.engine.offloaded == 1)

    // What was in the queue already, whatever it says.
    let late = talk.fromClient(900, "late", acknowledging: 99)
    #expect(late.kind == .accepted && late.mark == Self.offloaded)
    #expect(talk.fromServer(0, "b!", mark: Self.offloaded).mark == nil)
    #expect(talk.fromServer(0, flags: [.rst]).mark == Self.offloaded)
    #expect(talk.box.engine.statistics.engine.offloadedPackets == 3)
    #expect(talk.pass(.seconds(29)).isEmpty)
    #expect(state(talk) == "offloaded")
    #expect(talk.pass(.seconds(2)).isEmpty)
    #expect(state(talk) == nil)
    #expect(talk.box.engine.statistics.engine.connectionsClosed == 1)
  }

  @Test func whatWasReadCannotBeSentAgainWithOtherContent() throws {
    var talk = try Conversation.established([Leaving()])
    _ = talk.fromClient(0, "!", acknowledging: 0)
    _ = talk.fromServer(0, "good!", acknowledging: 1)
    #expect(talk.fromServer(0, "evil!", acknowledging: 1).out == ["server . 0 ack 1 'good!'"])
    #expect(talk.fromClient(1, acknowledging: 4).mark == nil)
    #expect(talk.fromClient(1, acknowledging: 5).mark == Self.offloaded)
  }

  @Test func edgeOfWhatWasReadStaysWhileMoreComes() throws {
    var talk = try Conversation.established([Leaving()])
    _ = talk.fromClient(0, "!", acknowledging: 0)
    _ = talk.fromServer(0, "a!", acknowledging: 1)
    for offset in 2..<20 { #expect(talk.fromServer(offset, "x", acknowledging: 1).mark == nil) }
    // There are always octets under way, as in a transfer at full speed.
    #expect(talk.fromClient(1, acknowledging: 10).mark == Self.offloaded)
  }

  @Test func editedConnectionStays() throws {
    var talk = try Conversation.established([Leaving()])
    _ = talk.fromClient(0, "!", acknowledging: 0)
    #expect(talk.fromServer(0, "he!", acknowledging: 1).out == ["server . 0 ack 1 'h!'"])
    #expect(talk.fromClient(1, acknowledging: 2).out == ["client . 1 ack 3"])
    let next = talk.fromServer(3, "the", acknowledging: 1)
    #expect(next.out == ["server . 2 ack 1 'the'"] && next.mark == Marks.standard.edited)
    #expect(state(talk) == "established")
    #expect(talk.box.engine.statistics.engine.offloaded == 0)
  }

  @Test func connectionWithAGapStaysUntilItIsFilled() throws {
    var talk = try Conversation.established([Leaving()])
    _ = talk.fromClient(0, "!", acknowledging: 0)
    _ = talk.fromServer(2, "cd", acknowledging: 1)
    _ = talk.fromServer(0, "a!", acknowledging: 1)
    _ = talk.fromServer(6, "gh", acknowledging: 1)
    #expect(talk.fromClient(1, acknowledging: 4).mark == nil)
    #expect(talk.fromServer(4, "ef", acknowledging: 1).mark == Self.offloaded)
  }

  @Test func connectionWithoutModulesStaysForThoseThatMayCome() throws {
    var talk = try Conversation.established([])
    _ = talk.fromServer(0, "he!")
    _ = talk.fromClient(0, acknowledging: 3)
    #expect(state(talk) == "established")
    try talk.box.configure([Leaving(.read)])
    #expect(talk.box.engine.connections(limit: 1).first?.modules.count == 2)
  }

  @Test func oneDirectionsModulesSpeakForBothWhereTheOtherHasNone() throws {
    var talk = try Conversation([])
    try talk.box.configure(flows: [("tcp,tcp_src=80", [Leaving()]), ("tcp,tcp_dst=80", [])])
    try talk.shakeHands()
    _ = talk.fromServer(0, "!")
    #expect(talk.fromClient(0, acknowledging: 1).mark == Self.offloaded)
  }

  @Test func laterModulesDoNotReachIt() throws {
    var talk = try Conversation.established([Leaving()])
    _ = talk.fromClient(0, "!", acknowledging: 0)
    _ = talk.fromServer(0, "!", acknowledging: 1)
    #expect(talk.fromClient(1, acknowledging: 1).mark == Self.offloaded)
    try talk.box.configure([Leaving(), ByteEditor(rule: [UInt8(ascii: "a"): []])], at: talk.now)
    #expect(talk.fromServer(1, "a", acknowledging: 1).kind == .accepted)
    #expect(state(talk) == "offloaded")
    let id = try #require(talk.box.engine.connections(limit: 1).first).id
    let isKilled = talk.box.engine.kill(connection: id, at: talk.now)
    #expect(!isKilled)
    #expect(talk.box.takeInjections().isEmpty)
  }

  @Test func moduleThatComesInTimeKeepsIt() throws {
    var talk = try Conversation.established([Leaving()])
    _ = talk.fromClient(0, "!", acknowledging: 0)
    _ = talk.fromServer(0, "a!", acknowledging: 1)
    try talk.box.configure([Leaving()], at: talk.now)
    #expect(talk.fromClient(1, acknowledging: 2).mark == nil)
    #expect(talk.fromServer(2, "e!", acknowledging: 1).out == ["server . 2 ack 1 '!'"])
  }

  @Test func modulesForPacketsKeepIt() throws {
    for (match, isKept) in [
      ("tcp,tcp_dst=80", true), ("tcp,ip_dscp=46", true), ("ip", true), ("icmp", true), ("tcp,tcp_dst=81", false),
      ("udp", false), ("tcp6", false),
    ] {
      var talk = try Conversation([])
      try talk.box.configure(flows: [("tcp,tcp_src=80", [Leaving()]), (match, [Watcher()])])
      try talk.shakeHands()
      _ = talk.fromServer(0, "!")
      #expect((talk.fromClient(0, acknowledging: 1).mark == nil) == isKept, "\(match)")
    }
  }

  @Test func observedConnectionLeavesWithoutWaiting() throws {
    var talk = try Conversation([])
    try talk.box.configure(flows: [("tcp,tcp_src=80", [Leaving(.read)])])
    #expect(talk.fromServer(50, "!", acknowledging: 100).mark == nil)
    // What the other direction belongs to is known now.
    #expect(talk.fromClient(100, "x", acknowledging: 10).mark == Self.offloaded)
  }

  @Test func synBetweenTheSameEndsBeginsAnew() throws {
    var talk = try Conversation.established([Leaving()])
    _ = talk.fromClient(0, "!", acknowledging: 0)
    _ = talk.fromServer(0, "!", acknowledging: 1)
    _ = talk.fromClient(1, acknowledging: 1)
    #expect(state(talk) == "offloaded")
    try talk.shakeHands()
    #expect(state(talk) == "established")
    #expect(talk.fromServer(0, "e").kind == .dropped)
  }

  @Test func associationLeavesOnceBothDirectionsHave() throws {
    var box = Middlebox()
    try box.configure([Leaving()])
    #expect(box.receive(DatagramTests.datagram("he!"), at: .zero).mark == nil)
    #expect(box.receive(Self.answer("he"), at: .zero).mark == nil)
    // Datagrams have no numbers that could be shifted.
    let last = box.receive(Self.answer("he!"), mark: 1, at: .zero)
    #expect(last.kind == .mangled && last.mark == 1 | Self.offloaded)
    #expect(box.receive(DatagramTests.datagram("he"), at: .zero).mark == Self.offloaded)
    #expect(box.engine.connections(limit: 1).first?.state == "offloaded")
    try box.configure([ByteEditor(rule: [UInt8(ascii: "a"): []])])
    #expect(box.receive(DatagramTests.datagram("a"), at: .zero).kind == .accepted)
    #expect(box.engine.statistics.engine.offloadedPackets == 2)
    #expect(box.engine.statistics.engine.offloaded == 1)
  }

  @Test func associationOfOneDirectionLeavesWhereNobodyWaitsForTheOther() throws {
    for (match, mark) in [("udp,udp_dst=53", Self.offloaded), ("udp", nil)] {
      var box = Middlebox()
      try box.configure(flows: [(match, [Leaving()])])
      #expect(box.receive(DatagramTests.datagram("!"), at: .zero).mark == mark)
    }
  }
}
