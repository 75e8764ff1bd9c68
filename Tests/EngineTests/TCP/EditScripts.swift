import Testing

@testable import Engine

/// Edits in a connection, segment by segment: `x` is removed, `g` grows into `GGG`, `h` into 700 octets.
@Suite struct EditScripts {
  static let editor = ByteEditor(rule: [
    UInt8(ascii: "x"): [], UInt8(ascii: "g"): Array("GGG".utf8),
    UInt8(ascii: "h"): [UInt8](repeating: UInt8(ascii: "H"), count: 700), UInt8(ascii: "r"): [UInt8(ascii: "R")],
  ])

  @Test func untouchedPacketsAreAccepted() throws {
    var talk = try Conversation.established([Self.editor])
    let outcome = talk.fromServer(0, "abc")
    #expect(outcome.kind == .accepted && outcome.mark == nil && outcome.injected.isEmpty)
    #expect(talk.fromClient(0, acknowledging: 3).kind == .accepted)
  }

  @Test(arguments: [false, true]) func whatIsRemovedShiftsWhatFollows(isIPv6: Bool) throws {
    var talk = try Conversation.established([Self.editor], isIPv6: isIPv6)
    #expect(talk.fromServer(0, "abxxcd").out == ["server . 0 ack 0 'abcd'"])
    #expect(talk.fromServer(6, "ef").out == ["server . 4 ack 0 'ef'"])
    #expect(talk.fromClient(0, acknowledging: 2).out == ["client . 0 ack 4"])
    #expect(talk.fromClient(0, acknowledging: 6).out == ["client . 0 ack 8"])
  }

  @Test("1. many edits in one window make one map") func row01_manyEditsInOneWindowComposeInOneMap() throws {
    var talk = try Conversation.established([Self.editor, ByteEditor(rule: [UInt8(ascii: "G"): Array("zz".utf8)])])
    #expect(talk.fromServer(0, "axbgcx").out == ["server . 0 ack 0 'abzzzzzzc'"])
    #expect(talk.fromServer(6, "d").out == ["server . 9 ack 0 'd'"])
    // In front of what was put in the place of g, within it, behind it, and behind what was removed.
    #expect(talk.fromClient(0, acknowledging: 1).out == ["client . 0 ack 2"])
    #expect(talk.fromClient(0, acknowledging: 5).out == ["client . 0 ack 3"])
    #expect(talk.fromClient(0, acknowledging: 8).out == ["client . 0 ack 4"])
    #expect(talk.fromClient(0, acknowledging: 9).out == ["client . 0 ack 6"])
  }

  @Test("27. growth beyond the segment size is split") func row27_growthBeyondTheSegmentSizeIsSplit() throws {
    var talk = try Conversation.established([Self.editor])
    let outcome = talk.fromServer(0, "hh", flags: [.ack, .psh])
    let sizes = ([outcome.packet!] + outcome.injected).map(\.payload.count)
    #expect(sizes == [1_000, 400])
    #expect(!outcome.packet!.tcp.flags.contains(.psh) && outcome.injected[0].tcp.flags.contains(.psh))
    #expect(outcome.injected[0].tcp.sequence == Conversation.serverStart + 1_000)
  }

  @Test("23. a segment removed whole is acknowledged once all before it is")
  func row23_aSegmentRemovedWholeIsAcknowledgedOnceAllBeforeItIs() throws {
    var talk = try Conversation.established([Self.editor])
    #expect(talk.fromServer(0, "ab").kind == .accepted)
    #expect(talk.fromServer(2, "xxx").out == [])
    #expect(talk.fromClient(0, acknowledging: 2).out == ["client . 0 ack 5"])
    // All in front of it is acknowledged: now at once.
    #expect(talk.fromServer(5, "xx").out == ["client . 0 ack 7"])
  }

  @Test("21. a retransmission gets what first left, however it is cut")
  func row21_aRetransmissionGetsWhatFirstLeftHoweverItIsCut() throws {
    var talk = try Conversation.established([Self.editor])
    #expect(talk.fromServer(0, "abxcgd").out == ["server . 0 ack 0 'abcGGGd'"])
    #expect(talk.fromServer(0, "abxcgd").out == ["server . 0 ack 0 'abcGGGd'"])
    #expect(talk.fromServer(1, "bxc").out == ["server . 1 ack 0 'bc'"])
    #expect(talk.fromServer(4, "g").out == ["server . 3 ack 0 'GGG'"])
    // Another content at the same numbers changes nothing: the first copy wins, on the wire as well.
    #expect(talk.fromServer(0, "ABXCGD").out == ["server . 0 ack 0 'abcGGGd'"])
    // Once a part is acknowledged the rest is enough, inside of a segment too.
    #expect(talk.fromClient(0, acknowledging: 4).out == ["client . 0 ack 4"])
    #expect(talk.fromServer(0, "abxcgd").out == ["server . 4 ack 0 'GGd'"])
    #expect(talk.fromClient(0, acknowledging: 7).out == ["client . 0 ack 6"])
    #expect(talk.fromServer(0, "abxcgd").out == ["client . 0 ack 6"])
  }

  @Test func whatWaitsForItsTurnIsReportedAndJoinsUp() throws {
    var talk = try Conversation.established([Self.editor])
    #expect(talk.fromServer(0, "ax").out == ["server . 0 ack 0 'a'"])
    #expect(talk.fromClient(0, acknowledging: 1).out == ["client . 0 ack 2"])
    #expect(talk.fromServer(6, "ef").out == ["client . 0 ack 2 sack 6-8"])
    #expect(talk.fromServer(10, "ij").out == ["client . 0 ack 2 sack 10-12 sack 6-8"])
    #expect(talk.fromServer(2, "bxcd").out == ["server . 1 ack 0 'bcdef'"])
    #expect(talk.fromClient(0, acknowledging: 6).out == ["client . 0 ack 8 sack 10-12"])
    #expect(talk.fromServer(8, "gx").out == ["server . 6 ack 0 'GGGij'"])
  }

  @Test func selectiveAcknowledgementsAreTranslatedOrDropped() throws {
    var talk = try Conversation.established([Self.editor])
    _ = talk.fromServer(0, "ab")
    _ = talk.fromServer(2, "cx")
    _ = talk.fromServer(4, "gd")
    _ = talk.fromServer(6, "efxh")
    let options = Conversation.sack([(4, 5), (6, 9)], from: Conversation.serverStart)
    // Within GGG nothing of the source's is whole; d, e and f are, and what was removed behind them.
    #expect(talk.fromClient(0, acknowledging: 2, options: options).out == ["client . 0 ack 2 sack 5-8"])
  }

  @Test("6. the window is what may be sent, and never taken back")
  func row06_theWindowIsWhatTheSourceMaySendAndIsNeverTakenBack() throws {
    var talk = try Conversation.established([Self.editor])
    let long = String(repeating: "x", count: 500) + "a"
    #expect(talk.fromServer(0, long).out == ["server . 0 ack 0 'a'"])
    let acknowledgement = talk.fromClient(0, acknowledging: 1, window: 1_000).packet
    // Its SYN announced 65,535 octets, 500 of those that came took no room, and the small window takes nothing back.
    #expect(acknowledgement?.tcp.window == 65_534)
    // Growth may take window away: the edge stays where it was.
    let grown = talk.fromServer(501, "hhh")
    #expect(grown.packet != nil)
    let next = talk.fromClient(0, acknowledging: 2_101, window: 60_000).packet
    let edge = (next?.tcp.acknowledgement ?? 0) &- Conversation.serverStart &+ UInt32(next?.tcp.window ?? 0)
    #expect(edge >= 65_535 + 500)
  }

  @Test("25. what grows beyond the window waits for it") func row25_whatGrowsBeyondTheWindowWaitsForIt() throws {
    var talk = try Conversation.established([Self.editor])
    #expect(talk.fromClient(0, acknowledging: 0, window: 1_000).kind == .accepted)
    var edge = 60_000
    var sent = 0
    var offset = 0
    // The window seen furthest is 65,535 octets, from the SYN.
    while sent < 64_000 {
      let outcome = talk.fromServer(offset, "h")
      for packet in [outcome.packet].compactMap({ $0 }) + outcome.injected { sent += packet.payload.count }
      offset += 1
    }
    edge = 65_535
    var outcome = talk.fromServer(offset, "hhh")
    for packet in [outcome.packet].compactMap({ $0 }) + outcome.injected { sent += packet.payload.count }
    #expect(sent <= edge)
    outcome = talk.fromClient(0, acknowledging: sent, window: 60_000)
    #expect(outcome.injected.map(\.payload.count).reduce(0, +) == (offset + 3) * 700 - sent)
  }

  @Test("8. the end follows the last octet that left") func row08_theEndFollowsTheLastOctetThatLeft() throws {
    var talk = try Conversation.established([Self.editor])
    #expect(talk.fromServer(0, "abxx", flags: [.ack, .fin]).out == ["server F. 0 ack 0 'ab'"])
    // Repeated bare, repeated whole.
    #expect(talk.fromServer(4, flags: [.ack, .fin]).out == ["server F. 2 ack 0"])
    #expect(talk.fromServer(0, "abxx", flags: [.ack, .fin]).out == ["server F. 0 ack 0 'ab'"])
    #expect(talk.fromClient(0, acknowledging: 3).out == ["client . 0 ack 5"])
    // The other direction goes on until it ends by itself.
    #expect(talk.fromClient(0, "yes", acknowledging: 3).out == ["client . 0 ack 5 'yes'"])
    #expect(talk.fromServer(5, acknowledging: 3).out == ["server . 3 ack 3"])
    #expect(talk.fromClient(3, acknowledging: 3, flags: [.ack, .fin]).out == ["client F. 3 ack 5"])
    #expect(talk.fromServer(5, acknowledging: 4).out == ["server . 3 ack 4"])
    #expect(talk.box.engine.connections(limit: 1).first?.state == "time-wait")
    _ = talk.pass(.seconds(31))
    #expect(talk.box.engine.connections(limit: 1).isEmpty)
  }

  @Test("8. what is removed in front of the end lets it through") func row08_whatIsRemovedInFrontOfTheEndLetsItThrough()
    throws
  {
    var talk = try Conversation.established([Self.editor])
    #expect(talk.fromServer(0, "xxxx", flags: [.ack, .fin]).out == ["server F. 0 ack 0"])
    #expect(talk.fromClient(0, acknowledging: 1).out == ["client . 0 ack 5"])
  }

  @Test("7. a reset is mapped exactly") func row07_resetsAreMappedExactly() throws {
    var talk = try Conversation.established([Self.editor])
    _ = talk.fromServer(0, "abxx")
    // Not the number that is expected next: it must not become it.
    #expect(talk.fromServer(7, flags: .rst).out == ["server R 5"])
    #expect(talk.box.engine.connections(limit: 1).first?.state == "established")
    #expect(talk.fromServer(4, flags: .rst).out == ["server R 2"])
    #expect(talk.box.engine.connections(limit: 1).first?.state == "closed")
  }

  /// RST is looked at before SYN (RFC 9293 section 3.10.7.4).
  @Test("7. so is one that is a SYN as well") func row07_aResetWithSYNIsAReset() throws {
    for flags in [[.rst, .syn], [.rst, .syn, .ack]] as [TCPFlags] {
      let kind = flags.contains(.ack) ? "SR." : "SR"
      let ack = flags.contains(.ack) ? " ack 0" : ""
      var talk = try Conversation.established([Self.editor])
      _ = talk.fromServer(0, "abxx")
      #expect(talk.fromServer(-1, flags: flags).out == ["server \(kind) -1\(ack)"])
      #expect(talk.fromServer(7, flags: flags).out == ["server \(kind) 5\(ack)"])
      #expect(talk.box.engine.connections(limit: 1).first?.state == "established")
      #expect(talk.fromServer(4, flags: flags).out == ["server \(kind) 2\(ack)"])
      #expect(talk.box.engine.connections(limit: 1).first?.state == "closed")
      #expect(talk.box.engine.statistics.connections == 1)
    }
  }

  @Test("7. an old reset does not become exact") func row07_anOldResetDoesNotBecomeExact() throws {
    var talk = try Conversation.established([OpeningRows.editor])
    _ = talk.fromServer(0, "abc")
    _ = talk.fromClient(0, acknowledging: 3)
    // Grown, and not yet acknowledged.
    #expect(talk.fromServer(3, "xxx").out == ["server . 3 ack 0 '---------'"])
    for offset in [2, 1, -5] { #expect(talk.fromServer(offset, flags: .rst).out == ["server R \(offset)"]) }
    // What the client has acknowledged is what its answer to a segment would be reset by.
    #expect(talk.fromServer(3, flags: .rst).out == ["server R 3"])
    // In the middle of what was replaced.
    #expect(talk.fromServer(4, flags: .rst).out == ["server R 13"])
    #expect(talk.box.engine.connections(limit: 1).first?.state == "established")
  }

  @Test("10. keep-alives and probes pass from end to end") func row10_keepAlivesAndProbesPassFromEndToEnd() throws {
    var talk = try Conversation.established([Self.editor])
    _ = talk.fromServer(0, "abxx")
    #expect(talk.fromClient(0, acknowledging: 2).out == ["client . 0 ack 4"])
    #expect(talk.fromServer(3).out == ["server . 1 ack 0"])
    #expect(talk.fromServer(3, "?").out == ["server . 1 ack 0 '?'"])
  }

  @Test func aSourceThatSendsAgainWhatWasRemovedGetsItAcknowledged() throws {
    var talk = try Conversation.established([Self.editor])
    #expect(talk.fromServer(0, "xxxx").out == ["client . 0 ack 4"])
    #expect(talk.fromServer(4, "xxxxa", flags: [.ack, .psh]).out == ["server P. 0 ack 0 'a'"])
    // The octet that is left is lost, and the source begins with what is gone.
    #expect(talk.fromServer(4, "xxxx").out == ["client . 0 ack 8"])
    #expect(talk.fromServer(8, "a").out == ["server . 0 ack 0 'a'"])
  }

  @Test("35. edited connections carry the mark") func row35_editedConnectionsCarryTheMark() throws {
    var talk = try Conversation.established([Self.editor])
    let edited = Marks.standard.edited
    #expect(talk.fromServer(0, "ab", mark: 7).mark == nil)
    #expect(talk.fromServer(2, "r", mark: 7).mark == 7 | edited)
    #expect(talk.fromServer(3, "c", mark: 7).mark == 7 | edited)
    #expect(talk.fromClient(0, acknowledging: 2, mark: 9).mark == 9 | edited)
  }

  @Test("15. injected segments carry timestamps") func row15_injectedSegmentsCarryTheLatestTimestamps() throws {
    var talk = try Conversation.established([Self.editor], usesTimestamps: true)
    let outcome = talk.fromServer(0, "hh")
    let stamps = outcome.injected.first?.tcp.options.timestamps
    #expect(stamps?.value == 30 && stamps?.echo == 20)
  }

  @Test("28. a super-packet left with one segment is injected")
  func row28_aSuperPacketLeftWithOneSegmentIsInjectedInstead() throws {
    var talk = try Conversation.established([Self.editor])
    let text = String(repeating: "x", count: 2_500) + "done"
    let outcome = talk.fromServer(0, text, isGSO: true)
    #expect(outcome.kind == .dropped)
    #expect(outcome.out == ["server P. 0 ack 0 'done'"])
    let whole = talk.fromServer(2_504, String(repeating: "a", count: 1_500) + "x", isGSO: true)
    #expect(whole.kind == .mangled && whole.packet?.payload.count == 1_500)
  }
}
