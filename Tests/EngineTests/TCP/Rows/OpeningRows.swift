import Testing

@testable import Engine

/// How connections begin that are not like the others, and what is never edited.
@Suite struct OpeningRows {
  static let editor = ByteEditor(rule: [UInt8(ascii: "x"): Array("---".utf8)])
  static let multipath: [UInt8] = [30, 4, 0, 1]
  static let signature: [UInt8] = [19, 18] + [UInt8](repeating: 0, count: 16)
  /// Two keys' numbers, and a MAC of 96 bits (RFC 5925 section 2.2).
  static let authentication: [UInt8] = [29, 16, 1, 1] + [UInt8](repeating: 0, count: 12)
  static let cookie: [UInt8] = [34, 10] + [UInt8](repeating: 7, count: 8)
  static let experimentalCookie: [UInt8] = [254, 12, 0xf9, 0x89] + [UInt8](repeating: 7, count: 8)

  /// A SYN of the client's with 1,460 octets as the maximum segment size.
  static func syn(_ talk: borrowing Conversation, options: [UInt8] = [], payload: String = "") -> TCPPacket {
    TCPPacket(
      from: talk.client, to: talk.server, sequence: Conversation.clientStart &- 1, flags: .syn,
      options: [2, 4, 5, 0xb4] + options, payload: Array(payload.utf8))
  }

  /// What the only connection is called in the table.
  static func state(_ talk: borrowing Conversation) -> String? { talk.box.engine.connections(limit: 1).first?.state }

  static func tally(_ talk: borrowing Conversation) -> UInt64? {
    talk.box.engine.statistics.modules.values.first?.own.first
  }

  @Test("12. a SYN and a SYN-ACK that are repeated get the same options, and begin nothing anew")
  func row12_repeatedHandshake() throws {
    var talk = try Conversation([Self.editor])
    let syn = Self.syn(talk, options: Self.multipath)
    let first = talk.box.receive(syn, at: talk.now).packet
    let options: [UInt8] = [2, 4, 5, 0xb4]
    let answer = talk.fromServer(-1, acknowledging: 0, flags: [.syn, .ack], options: options).packet
    #expect(talk.box.receive(syn, at: talk.now).packet?.bytes == first?.bytes)
    _ = talk.fromClient(0, acknowledging: 0)
    #expect(talk.fromClient(0, "axb", acknowledging: 0).out == ["client . 0 ack 0 'a---b'"])
    #expect(talk.box.receive(syn, at: talk.now).packet?.bytes == first?.bytes)
    // The answer to the SYN that came late, itself late.
    let again = talk.fromServer(-1, acknowledging: 0, flags: [.syn, .ack], options: options).packet
    #expect(again?.bytes == answer?.bytes)
    #expect(talk.fromClient(3, "x", acknowledging: 0).out == ["client . 5 ack 0 '---'"])
    #expect(talk.box.engine.statistics.engine.connectionsOpened == 1)
  }

  @Test("12. a SYN with data in a super-packet is dropped, and not left without payload")
  func row12_superPacketWithSyn() throws {
    var talk = try Conversation([Self.editor])
    let syn = Self.syn(talk, payload: String(repeating: "x", count: 3_000))
    #expect(talk.box.receive(syn, isGSO: true, at: talk.now).kind == .dropped)
    // The same without data.
    #expect(talk.box.receive(Self.syn(talk), at: talk.now).kind == .mangled)
  }

  @Test("13. simultaneous open is edited rightly") func row13_simultaneousOpen() throws {
    var talk = try Conversation([Self.editor])
    _ = talk.box.receive(Self.syn(talk), at: talk.now)
    #expect(talk.fromServer(-1, flags: .syn, options: [2, 4, 5, 0xb4]).packet != nil)
    #expect(talk.fromClient(-1, acknowledging: 0, flags: [.syn, .ack], options: [2, 4, 5, 0xb4]).packet != nil)
    #expect(talk.fromServer(-1, acknowledging: 0, flags: [.syn, .ack], options: [2, 4, 5, 0xb4]).packet != nil)
    #expect(talk.fromClient(0, "axb", acknowledging: 0).out == ["client . 0 ack 0 'a---b'"])
    #expect(talk.fromServer(0, acknowledging: 5).out == ["server . 0 ack 3"])
    #expect(talk.fromServer(0, "x", acknowledging: 5).out == ["server . 0 ack 3 '---'"])
  }

  @Test("13. split handshake passes unedited") func row13_splitHandshake() throws {
    var talk = try Conversation([Self.editor])
    _ = talk.box.receive(Self.syn(talk), at: talk.now)
    #expect(talk.fromServer(-1, flags: .syn, options: [2, 4, 5, 0xb4]).kind == .accepted)
    #expect(talk.fromClient(-1, acknowledging: 0, flags: [.syn, .ack]).kind == .accepted)
    #expect(talk.fromServer(0, acknowledging: 0).kind == .accepted)
    #expect(talk.fromClient(0, "axb", acknowledging: 0).kind == .accepted)
    #expect(talk.fromServer(0, "axb", acknowledging: 3).kind == .accepted)
    #expect(Self.state(talk) == "midstream")
  }

  @Test("13. on its way to an editor a SYN loses Fast Open and its data", arguments: [cookie, experimentalCookie, []])
  func row13_fastOpenIsRemoved(option: [UInt8]) throws {
    var talk = try Conversation([Self.editor])
    let syn = try #require(talk.box.receive(Self.syn(talk, options: option, payload: "axb"), at: talk.now).packet)
    #expect(!syn.tcp.options.hasFastOpen && !syn.tcp.options.isMalformed && syn.payload.isEmpty)
    #expect(talk.fromServer(-1, acknowledging: 0, flags: [.syn, .ack]).packet != nil)
    // The client sends it again, as the server has acknowledged the SYN alone.
    #expect(talk.fromClient(0, "axb", acknowledging: 0).out == ["client . 0 ack 0 'a---b'"])
  }

  @Test("13. where nothing edits, data of a SYN enters the stream") func row13_synDataIsRead() throws {
    var talk = try Conversation([Reader()])
    #expect(talk.box.receive(Self.syn(talk, options: Self.cookie, payload: "abc"), at: talk.now).kind == .accepted)
    #expect(talk.fromServer(-1, acknowledging: 3, flags: [.syn, .ack]).kind == .accepted)
    #expect(talk.fromClient(3, "de", acknowledging: 0).kind == .accepted)
    #expect(Self.tally(talk) == 5)
    #expect(Self.state(talk) == "syn-data")
    #expect(talk.box.engine.statistics.engine.synData == 1)
  }

  @Test("14. the MSS leaves room to grow where something edits") func row14_maximumSegmentSizeIsClamped() throws {
    var talk = try Conversation([Self.editor])
    let syn = try #require(talk.box.receive(Self.syn(talk), at: talk.now).packet)
    #expect(syn.tcp.options.maximumSegmentSize == 1_396)
    let again = try #require(talk.box.receive(Self.syn(talk), at: talk.now).packet)
    #expect(again.bytes == syn.bytes)
    let answer = talk.fromServer(-1, acknowledging: 0, flags: [.syn, .ack], options: [2, 4, 5, 0xb4])
    #expect(answer.packet?.tcp.options.maximumSegmentSize == 1_396)
    // A full segment of the source's grows and still is one segment.
    let payload = "x" + String(repeating: "a", count: 1_395)
    #expect(talk.fromClient(0, payload, acknowledging: 0).out.count == 1)
  }

  @Test("14. the MSS stays where nothing edits, and where it is small")
  func row14_maximumSegmentSizeStays() throws {
    var reading = try Conversation([Reader()])
    #expect(reading.box.receive(Self.syn(reading), at: reading.now).kind == .accepted)
    var small = try Conversation([Self.editor])
    #expect(small.fromClient(-1, acknowledging: 0, flags: .syn, options: [2, 4, 2, 24]).kind == .accepted)
  }

  @Test("16. MPTCP is removed on the way to an editor") func row16_multipathIsRemoved() throws {
    var talk = try Conversation([Self.editor])
    let syn = try #require(talk.box.receive(Self.syn(talk, options: Self.multipath), at: talk.now).packet)
    #expect(syn.tcp.options.multipath == nil && syn.tcp.options.maximumSegmentSize == 1_396)
    #expect(talk.fromServer(-1, acknowledging: 0, flags: [.syn, .ack]).packet != nil)
    #expect(talk.fromClient(0, "axb", acknowledging: 0).out == ["client . 0 ack 0 'a---b'"])
  }

  @Test("16. MPTCP stays where nothing edits, and is never edited then") func row16_multipathStays() throws {
    var talk = try Conversation([Reader()])
    #expect(talk.box.receive(Self.syn(talk, options: Self.multipath), at: talk.now).kind == .accepted)
    #expect(
      talk.fromServer(-1, acknowledging: 0, flags: [.syn, .ack], options: Self.multipath).kind == .accepted)
    try talk.box.configure([Self.editor], at: talk.now)
    #expect(talk.fromClient(0, "axb", acknowledging: 0).kind == .accepted)
    #expect(talk.box.engine.statistics.engine.multipath == 1)
  }

  @Test("16. signed connections pass unedited, are counted and read", arguments: [signature, authentication])
  func row16_signedConnections(_ option: [UInt8]) throws {
    var talk = try Conversation([Self.editor, Reader()])
    let syn = Self.syn(talk, options: option)
    #expect(talk.box.receive(syn, at: talk.now).kind == .accepted)
    #expect(
      talk.fromServer(-1, acknowledging: 0, flags: [.syn, .ack], options: option).kind == .accepted)
    #expect(talk.fromClient(0, "axb", acknowledging: 0, options: option).kind == .accepted)
    #expect(talk.box.engine.statistics.engine.signed == 1)
    #expect(Self.state(talk) == "signed")
  }

  @Test("17. a connection in midstream is read, in order and once") func row17_midstreamIsRead() throws {
    var talk = try Conversation([Reader()])
    #expect(talk.fromServer(100, "abc").kind == .accepted)
    #expect(talk.fromServer(105, "fg").kind == .accepted)
    #expect(Self.tally(talk) == 3)
    #expect(talk.fromServer(102, "cde").kind == .accepted)
    #expect(talk.fromServer(100, "abc").kind == .accepted)
    #expect(Self.tally(talk) == 7)
    #expect(talk.fromClient(50, "uv", acknowledging: 107).kind == .accepted)
    #expect(Self.tally(talk) == 9)
    #expect(Self.state(talk) == "midstream")
    #expect(talk.fromServer(107, acknowledging: 52, flags: [.ack, .fin]).kind == .accepted)
    #expect(talk.fromClient(52, acknowledging: 108, flags: [.ack, .fin]).kind == .accepted)
    _ = talk.pass(.seconds(31))
    #expect(talk.box.engine.statistics.connections == 0)
    #expect(talk.box.engine.statistics.engine.gaps == 0)
  }

  @Test("17. what a connection in midstream has lost is not waited for") func row17_midstreamWithAGap() throws {
    var talk = try Conversation([Reader()])
    _ = talk.fromServer(100, "abc")
    _ = talk.fromServer(200, "fg")
    #expect(talk.fromClient(50, acknowledging: 202).kind == .accepted)
    #expect(talk.fromServer(103, "de").kind == .accepted)
    #expect(Self.tally(talk) == 3)
    #expect(talk.box.engine.statistics.engine.gaps == 1)
    #expect(talk.box.engine.statistics.memoryInUse < 90_000)
  }

  @Test("17. a connection of which one direction comes by is read and never edited") func row17_oneDirection() throws {
    var talk = try Conversation([Self.editor])
    _ = talk.box.receive(Self.syn(talk), at: talk.now)
    #expect(talk.fromClient(0, acknowledging: 0).kind == .accepted)
    #expect(talk.fromClient(0, "axb", acknowledging: 0).kind == .accepted)
    #expect(Self.state(talk) == "one-sided")
    #expect(talk.box.engine.statistics.engine.oneSided == 1)
  }

  @Test("17. so is one of which only the server's direction comes by") func row17_serverDirection() throws {
    var talk = try Conversation([Self.editor])
    #expect(talk.fromServer(-1, acknowledging: 0, flags: [.syn, .ack], options: [2, 4, 5, 0xb4]).kind == .accepted)
    #expect(talk.fromServer(0, "axb", acknowledging: 7).kind == .accepted)
    #expect(Self.state(talk) == "one-sided")
    #expect(talk.box.engine.connections(limit: 1).first?.serverPort == 80)
    #expect(talk.box.engine.statistics.engine.oneSided == 1 && talk.box.engine.statistics.engine.midstream == 0)
  }

  @Test("18. a SYN over TIME-WAIT starts afresh") func row18_overTimeWait() throws {
    var talk = try Conversation.established([Self.editor])
    _ = talk.fromClient(0, "x", acknowledging: 0, flags: [.ack, .fin])
    _ = talk.fromServer(0, acknowledging: 4, flags: [.ack, .fin])
    _ = talk.fromClient(2, acknowledging: 1)
    #expect(Self.state(talk) == "time-wait")
    try talk.shakeHands()
    #expect(talk.fromClient(0, "axb", acknowledging: 0).out == ["client . 0 ack 0 'a---b'"])
  }

  @Test("18. a SYN over an open connection starts afresh when the other end agrees")
  func row18_overAForgottenOne()
    throws
  {
    var talk = try Conversation.established([Self.editor])
    _ = talk.fromClient(0, "axb", acknowledging: 0)
    _ = talk.fromServer(0, acknowledging: 5)
    let syn = TCPPacket(
      from: talk.client, to: talk.server, sequence: 70_000, flags: .syn, options: [2, 4, 5, 0xb4] + Self.multipath)
    #expect(talk.box.receive(syn, at: talk.now).packet?.tcp.options.maximumSegmentSize == 1_396)
    #expect(Self.state(talk) == "established")
    let answer = TCPPacket(
      from: talk.server, to: talk.client, sequence: 90_000, acknowledgement: 70_001, flags: [.syn, .ack],
      options: [2, 4, 5, 0xb4])
    #expect(talk.box.receive(answer, at: talk.now).packet?.tcp.acknowledgement == 70_001)
    let data = TCPPacket(
      from: talk.client, to: talk.server, sequence: 70_001, acknowledgement: 90_001, flags: .ack,
      payload: Array("axb".utf8))
    let out = try #require(talk.box.receive(data, at: talk.now).packet)
    #expect(out.tcp.sequence == 70_001 && Array(out.payload) == Array("a---b".utf8))
    #expect(talk.box.engine.statistics.connections == 1)
  }

  @Test("18. a forged SYN does not end an open connection") func row18_forgedSYN() throws {
    var talk = try Conversation.established([Self.editor])
    _ = talk.fromClient(0, "axb", acknowledging: 0)
    _ = talk.fromServer(0, acknowledging: 5)
    let syn = TCPPacket(from: talk.client, to: talk.server, sequence: 70_000, flags: .syn)
    #expect(talk.box.receive(syn, at: talk.now).packet != nil)
    // The challenge acknowledgement (RFC 5961 section 4), in numbers of the client's.
    #expect(talk.fromServer(0, acknowledging: 5).out == ["server . 0 ack 3"])
    #expect(talk.fromClient(3, "x", acknowledging: 0).out == ["client . 5 ack 0 '---'"])
    // A client that has forgotten answers the challenge with a reset, which must be exact at the server.
    #expect(talk.fromClient(3, acknowledging: 0, flags: .rst).packet?.summary == "client R 5")
  }

  @Test("34. where connection tracking knows neither address nothing is edited") func row34_translated() throws {
    var talk = try Conversation([Self.editor, Reader()])
    _ = talk.box.receive(Self.syn(talk), at: talk.now)
    let answer = TCPPacket(
      from: talk.server, to: talk.client, sequence: Conversation.serverStart &- 1,
      acknowledgement: Conversation.clientStart, flags: [.syn, .ack])
    let editable = talk.box.receiveAnnouncing(answer, at: talk.now)
    #expect(editable.count == 1)
    talk.box.engine.setTracking(try #require(editable.first), knowsToServer: false, knowsToClient: false)
    #expect(talk.fromClient(0, "axb", acknowledging: 0).kind == .accepted)
    #expect(talk.box.engine.statistics.engine.translated == 1)
  }
}
