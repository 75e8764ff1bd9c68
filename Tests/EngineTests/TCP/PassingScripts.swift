import Testing

@testable import Engine

/// What must pass as it is: connections that may not be edited, packets that are not TCP or not sound, and what readers
/// merely watch.
@Suite struct PassingScripts {
  private static let editor = EditScripts.editor

  @Test func connectionsSeenInMidstreamAreNotEdited() throws {
    var talk = try Conversation([Self.editor])
    #expect(talk.fromServer(100, "abxgh").kind == .accepted)
    #expect(talk.fromClient(0, acknowledging: 105).kind == .accepted)
    #expect(talk.box.engine.statistics.engine.midstream == 1)
    #expect(talk.box.engine.connections(limit: 1).first?.state == "midstream")
  }

  @Test func aConnectionOfWhichOneDirectionGoesAnotherWayIsNotEdited() throws {
    var talk = try Conversation([Self.editor])
    let syn = TCPPacket(from: talk.client, to: talk.server, sequence: 1_000, flags: .syn)
    #expect(talk.box.receive(syn, at: talk.now).kind == .accepted)
    #expect(talk.fromClient(0, "axxb", acknowledging: 0).kind == .accepted)
  }

  @Test func whatAnEarlierDaemonEditedIsDropped() throws {
    var talk = try Conversation([Self.editor])
    #expect(talk.fromServer(0, "abc", mark: Marks.standard.edited).kind == .dropped)
    #expect(talk.box.engine.statistics.engine.orphaned == 1)
    // A new connection over the same ports begins afresh.
    let syn = TCPPacket(from: talk.client, to: talk.server, sequence: 9_000, flags: .syn)
    #expect(talk.box.receive(syn, mark: Marks.standard.edited, at: talk.now).kind == .accepted)
  }

  @Test func portsThatAreUsedAgainBeginAfresh() throws {
    var talk = try Conversation.established([Self.editor])
    #expect(talk.fromServer(0, "abxx").out == ["server . 0 ack 0 'ab'"])
    #expect(talk.fromServer(4, flags: .rst).out == ["server R 2"])
    try talk.shakeHands()
    #expect(talk.fromServer(0, "abxx").out == ["server . 0 ack 0 'ab'"])
    #expect(talk.box.engine.connections(limit: 9).count == 1)
  }

  @Test("30. a wrong checksum never enters a stream") func row30_aWrongChecksumNeverEntersAStream() throws {
    var talk = try Conversation.established([Self.editor])
    var packet = TCPPacket(
      from: talk.server, to: talk.client, sequence: Conversation.serverStart, acknowledgement: Conversation.clientStart,
      flags: .ack, payload: Array("bad".utf8))
    packet.bytes[packet.bytes.count - 1] ^= 0xFF
    #expect(talk.box.receive(packet, at: talk.now).kind == .accepted)
    #expect(talk.box.engine.statistics.engine.badChecksum == 1)
    #expect(talk.fromServer(0, "goo").kind == .mangled)
  }

  @Test("30. a super-packet has its checksum from the kernel, whatever is in its field")
  func row30_aSuperPacketHasItsChecksumFromTheKernel() throws {
    var talk = try Conversation.established([Self.editor])
    let payload = Array(String(repeating: "good", count: 1_000).utf8)
    var packet = TCPPacket(
      from: talk.server, to: talk.client, sequence: Conversation.serverStart, acknowledgement: Conversation.clientStart,
      flags: .ack, payload: payload)
    packet.bytes[36] ^= 0xFF
    let outcome = talk.box.receive(packet, isGSO: true, at: talk.now)
    #expect(outcome.kind == .mangled && outcome.isUnsummed)
    #expect(outcome.packet?.payload.count != payload.count)
    let single = talk.fromServer(payload.count, "good")
    #expect(single.kind == .mangled && !single.isUnsummed)
  }

  @Test("33. what is not whole or not sound passes and is counted")
  func row33_whatIsNotWholeOrNotSoundPassesAndIsCounted() throws {
    var talk = try Conversation([Self.editor])
    #expect(talk.box.receive(TCPPacket([0x45, 0, 0]), at: talk.now).kind == .accepted)
    #expect(talk.box.receive(TCPPacket([UInt8](repeating: 0xFF, count: 60)), at: talk.now).kind == .accepted)
    #expect(talk.box.receive(TCPPacket([]), at: talk.now).kind == .accepted)
    #expect(talk.box.engine.statistics.engine.malformed == 3)
    var fragment = TCPPacket(from: talk.client, to: talk.server, sequence: 1, flags: .ack, payload: [1, 2, 3])
    fragment.bytes[6] = 0x20
    #expect(talk.box.receive(fragment, at: talk.now).kind == .accepted)
    #expect(talk.box.engine.statistics.engine.fragments == 1)
  }

  @Test func packetsThatNoFlowMatchesPassUnwatched() throws {
    var talk = try Conversation([])
    try talk.box.configure(flows: [("tcp,tcp_src=443", [Self.editor])])
    try talk.shakeHands()
    #expect(talk.fromServer(0, "axx").kind == .accepted)
    #expect(talk.box.engine.statistics.connections == 0)
    #expect(talk.box.engine.statistics.engine.unmatched == 4)
  }

  @Test func oneDirectionInAFlowIsEnough() throws {
    var talk = try Conversation([])
    try talk.box.configure(flows: [("tcp,tcp_src=80", [Self.editor])])
    try talk.shakeHands()
    #expect(talk.fromServer(0, "axx").out == ["server . 0 ack 0 'a'"])
    #expect(talk.fromClient(0, "xx", acknowledging: 1).out == ["client . 0 ack 3 'xx'"])
  }

  @Test func underReadersSegmentsPassBeforeTheirTurn() throws {
    var talk = try Conversation.established([Reader()])
    #expect(talk.fromServer(3, "def").kind == .accepted)
    // A second copy that says something else must not reach the destination before the first has been read.
    #expect(talk.fromServer(3, "dXf").kind == .dropped)
    #expect(talk.fromServer(3, "def").kind == .accepted)
    #expect(talk.fromServer(0, "abc").kind == .accepted)
    #expect(talk.fromServer(0, "abc").kind == .accepted)
    #expect(talk.fromServer(0, "aXc").out == ["server . 0 ack 0 'abc'"])
    #expect(talk.fromClient(0, acknowledging: 6).kind == .accepted)
    let tally = talk.box.engine.statistics.modules.values.first
    #expect(tally?.own == [6] && tally?.common.octetsOut == 6)
  }

  @Test func underReadersTheDestinationReportsForItself() throws {
    var talk = try Conversation.established([Reader()])
    #expect(talk.fromServer(3, "def").kind == .accepted)
    let options = Conversation.sack([(3, 6)], from: Conversation.serverStart)
    #expect(talk.fromClient(0, acknowledging: 0, options: options).kind == .accepted)
  }

  @Test func whatWaitedStaysAsItCameWhenTheGapIsFilled() throws {
    var talk = try Conversation.established([Reader()])
    #expect(talk.fromServer(3, "def").kind == .accepted)
    // The destination has d as it came first, so neither the reader nor the wire may have it otherwise.
    #expect(talk.fromServer(0, "abcX").out == ["server . 0 ack 0 'abcdef'"])
    #expect(talk.fromServer(6, "g").kind == .accepted)
  }

  @Test func repeatedHandshakesPass() throws {
    var talk = try Conversation.established([Self.editor])
    _ = talk.fromServer(0, "axxb")
    #expect(talk.fromServer(-1, acknowledging: 0, flags: [.syn, .ack]).kind == .accepted)
    // Another SYN in a connection that lives is the ends' affair (RFC 5961 section 4).
    let syn = TCPPacket(from: talk.client, to: talk.server, sequence: 77, flags: .syn)
    #expect(talk.box.receive(syn, at: talk.now).kind == .accepted)
    #expect(talk.fromServer(4, "c").out == ["server . 2 ack 0 'c'"])
  }

  @Test func connectionsAreForgottenInTime() throws {
    var settings = Settings()
    settings.idleTimeout = .seconds(100)
    var talk = try Conversation([Self.editor], settings: settings)
    try talk.shakeHands()
    _ = talk.pass(.seconds(90))
    #expect(talk.fromServer(0, "a").kind == .accepted)
    _ = talk.pass(.seconds(90))
    #expect(talk.box.engine.statistics.connections == 1)
    _ = talk.pass(.seconds(60))
    _ = talk.pass(.seconds(60))
    #expect(talk.box.engine.statistics.connections == 0)
  }

  @Test func whereNoPlaceIsLeftConnectionsPassUneditedAndAreCounted() throws {
    var settings = Settings()
    settings.connectionLimit = 0
    var talk = try Conversation([Self.editor], settings: settings)
    try talk.shakeHands()
    #expect(talk.fromServer(0, "axx").kind == .accepted)
    #expect(talk.box.engine.statistics.engine.refused == 4)
  }

  @Test(arguments: [TCPFlags.syn, .ack]) func aFloodDoesNotEndEditing(flags: TCPFlags) throws {
    var settings = Settings()
    settings.connectionLimit = 100
    var talk = try Conversation([Self.editor], settings: settings)
    try talk.shakeHands()
    for number in 1...1_000 as ClosedRange<UInt32> {
      let stranger = Endpoint(address: IPAddress(v4: 0x0B00_0000 + number), port: 1_000)
      _ = talk.box.receive(TCPPacket(from: stranger, to: talk.server, sequence: 1, flags: flags), at: talk.now)
    }
    #expect(talk.box.engine.statistics.connections <= 100)
    // The connection that was open still is edited, and so is a new one.
    #expect(talk.fromServer(0, "axx").out == ["server . 0 ack 0 'a'"])
    #expect(talk.fromServer(3, flags: .rst).out == ["server R 1"])
    try talk.shakeHands()
    #expect(talk.fromServer(0, "axx").out == ["server . 0 ack 0 'a'"])
  }
}
