import Testing

@testable import Engine

/// Rows 4, 19 and 22: what a source is told, by SACK, of segments that came before their turn and wait here.
@Suite struct EarlyRows {
  static func sack(_ blocks: [(Int, Int)]) -> [UInt8] { Conversation.sack(blocks, from: Conversation.serverStart) }
  /// An editor that finds nothing to edit.
  static let editor = ByteEditor(rule: [:])

  @Test("19. what is on its way to the destination is not made to look lost") func row19_notWhileOnItsWay() throws {
    var talk = try Conversation.established([Self.editor])
    #expect(talk.fromServer(0, "abcd").out == ["server . 0 ack 0 'abcd'"])
    // The destination has yet to say that it has these; an octet draws that out.
    #expect(talk.fromServer(6, "gh").out == ["server P. 3 ack 0 'd'"])
    #expect(talk.fromServer(10, "kl").out == [])
    // Now it has, and the source is told all at once.
    #expect(
      talk.fromClient(0, acknowledging: 4).out == ["client . 0 ack 4", "client . 0 ack 4 sack 6-8 sack 10-12"])
    #expect(talk.fromServer(12, "mn").out == ["client . 0 ack 4 sack 10-14 sack 6-8"])
  }

  @Test("4. what waits is told beside what the destination itself misses") func row04_twoLosses() throws {
    var talk = try Conversation.established([Self.editor])
    for offset in [0, 4, 8] { _ = talk.fromServer(offset, "abcd") }
    _ = talk.fromServer(16, "qrst")
    // The first is lost behind us, the last has arrived: nothing is on its way any more.
    #expect(
      talk.fromClient(0, acknowledging: 0, options: Self.sack([(4, 12)])).out == [
        "client . 0 ack 0 sack 4-12", "client . 0 ack 0 sack 16-20",
      ])
    // What is sent again is on its way, and again the source has to wait.
    #expect(talk.fromServer(0, "abcd").out == ["server . 0 ack 0 'abcd'"])
    #expect(talk.fromServer(24, "yz").out == [])
    #expect(
      talk.fromClient(0, acknowledging: 12).out == ["client . 0 ack 12", "client . 0 ack 12 sack 16-20 sack 24-26"])
  }

  @Test("19. where the destination does not say that it has the last octet, its time runs out")
  func row19_theLastIsLostBehindUs() throws {
    var talk = try Conversation([Self.editor])
    try talk.shakeHands(toClient: .milliseconds(20))
    _ = talk.fromServer(0, "abcd")
    talk.now = talk.now + .milliseconds(20)
    _ = talk.fromClient(0, acknowledging: 4)
    for offset in [4, 8] { _ = talk.fromServer(offset, "efgh") }
    _ = talk.fromServer(16, "qr")
    // A round-trip takes 20 ms, or as much more as its variation says: half of the first, and a quarter less by each alike.
    #expect(talk.pass(.milliseconds(49)).isEmpty)
    #expect(talk.pass(.milliseconds(1)).map(\.summary) == ["client . 0 ack 4 sack 16-18"])
    #expect(talk.fromServer(18, "st").out == ["client . 0 ack 4 sack 16-20"])
  }

  /// A source takes for lost what it sent before something that has arrived (RFC 8985): what came here between two missing
  /// segments is told before the second of them is.
  @Test("4. of several gaps the source is told in the order of arrival") func row04_orderOfArrival() throws {
    var talk = try Conversation.established([Self.editor])
    _ = talk.fromServer(0, "abcd")
    _ = talk.fromClient(0, acknowledging: 4)
    for offset in [8, 16, 32] { _ = talk.fromServer(offset, "efgh") }
    // The first gap is filled, and what left is on its way.
    #expect(talk.fromServer(4, "abcd").out == ["server . 4 ack 0 'abcd'", "server P. 8 ack 0 'efgh'"])
    #expect(talk.fromServer(20, "ijkl").out == [])
    // The second.
    #expect(talk.fromServer(12, "abcd").out.last == "server P. 16 ack 0 'efghijkl'")
    #expect(talk.fromServer(36, "mnop").out == [])
    // An acknowledgement of half of what left together says nothing, one of all of it also what came before the next gap was
    // filled, and what came after that is told with what filled it.
    #expect(talk.fromClient(0, acknowledging: 8).out == [])
    #expect(talk.fromClient(0, acknowledging: 12).out == ["client . 0 ack 12 sack 16-24 sack 32-36"])
    #expect(talk.fromClient(0, acknowledging: 20).out == [])
    #expect(talk.fromClient(0, acknowledging: 24).out == ["client . 0 ack 24", "client . 0 ack 24 sack 32-40"])
  }

  @Test("4. an acknowledgement passes also where nothing is left to report with it") func row04_nothingLeft() throws {
    var talk = try Conversation.established([Self.editor])
    _ = talk.fromServer(0, "abcd")
    _ = talk.fromClient(0, acknowledging: 4)
    for offset in [8, 16] { _ = talk.fromServer(offset, "efgh") }
    #expect(talk.fromServer(4, "abcd").out.count == 2)
    #expect(talk.fromServer(16, "efgh").out == [])
    #expect(talk.fromServer(20, "ijkl").out == [])
    // What fills the second gap brings all that has waited behind it as well.
    #expect(talk.fromServer(12, "abcdefghijkl").out == ["server . 12 ack 0 'abcdefghijkl'"])
    #expect(talk.fromClient(0, acknowledging: 12).out == ["client . 0 ack 12"])
    #expect(talk.fromClient(0, acknowledging: 24).out == ["client . 0 ack 24"])
  }

  @Test("4. a report leaves out no block, whatever their number") func row04_manyBlocks() throws {
    var talk = try Conversation.established([Self.editor])
    _ = talk.fromServer(0, "abcd")
    for offset in stride(from: 6, to: 26, by: 4) { _ = talk.fromServer(offset, "xy") }
    #expect(
      talk.fromClient(0, acknowledging: 4).out == [
        "client . 0 ack 4", "client . 0 ack 4 sack 6-8 sack 10-12 sack 14-16 sack 18-20", "client . 0 ack 4 sack 22-24",
      ])
  }

  @Test("22. the source is never acknowledged the middle of what SACK has told it of") func row22_noReneging() throws {
    var talk = try Conversation.established([Self.editor])
    #expect(talk.fromServer(4, "efgh").out == ["client . 0 ack 0 sack 4-8"])
    #expect(talk.fromServer(8, "ijkl").out == ["client . 0 ack 0 sack 4-12"])
    #expect(talk.fromServer(0, "abcd").out == ["server . 0 ack 0 'abcd'", "server P. 4 ack 0 'efghijkl'"])
    // The destination lacks the end of it, which the source will not send again: it is ours to deliver.
    #expect(talk.fromClient(0, acknowledging: 4).out == [])
    #expect(talk.fromClient(0, acknowledging: 4, options: Self.sack([(8, 12)])).out == ["server P. 4 ack 0 'efgh'"])
    #expect(talk.fromClient(0, acknowledging: 12).out == ["client . 0 ack 12"])
  }

  @Test("22. what the destination lacks of it is sent again when nothing is heard") func row22_timeout() throws {
    var talk = try Conversation.established([Self.editor])
    _ = talk.fromServer(4, "efgh")
    _ = talk.fromServer(0, "abcd")
    talk.now = talk.now + .milliseconds(10)
    #expect(talk.fromClient(0, acknowledging: 4).out == [])
    #expect(talk.pass(.milliseconds(199)).isEmpty)
    #expect(talk.pass(.milliseconds(801)).map(\.summary) == ["server P. 4 ack 0 'efgh'"])
  }
}
