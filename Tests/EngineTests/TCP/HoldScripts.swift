import Testing

@testable import Engine

/// Modules that hold octets back, and the delivery that becomes ours thereby.
@Suite struct HoldScripts {
  /// Holds the last four octets for 50 ms.
  private static let holder = ByteEditor(rule: [UInt8(ascii: "x"): []], hold: 4)

  @Test func whatIsReleasedLeavesAtOnceAndTheRestWhenItsTimeIsOver() throws {
    var talk = try Conversation.established([Self.holder])
    #expect(talk.fromServer(0, "abcdef").out == ["server . 0 ack 0 'ab'"])
    #expect(talk.fromServer(6, "g").out == ["server . 2 ack 0 'c'"])
    #expect(talk.pass(.milliseconds(49)).isEmpty)
    #expect(talk.pass(.milliseconds(1)).map(\.summary) == ["server P. 3 ack 0 'defg'"])
    // A retransmission of what was with the module says nothing new.
    #expect(talk.fromServer(0, "abcdefg").out == ["server . 0 ack 0 'abcdefg'"])
  }

  @Test("21. a retransmission of what is held has it acknowledged early") func row21_aRetransmissionOfWhatIsHeld()
    throws
  {
    var talk = try Conversation.established([Self.holder])
    #expect(talk.fromServer(0, "abcd").out == [])
    #expect(talk.fromServer(0, "ab").out == ["client . 0 ack 4"])
  }

  @Test func whatIsHeldIsAcknowledgedAndThenDeliveredByUs() throws {
    let patient = ByteEditor(rule: [:], hold: 4).patient()
    var talk = try Conversation([patient])
    try talk.shakeHands(toClient: .milliseconds(400))
    #expect(talk.fromServer(0, "abcd").out == [])
    // After a grace of 100 ms, so that the source goes on.
    #expect(talk.pass(.milliseconds(99)).isEmpty)
    #expect(talk.pass(.milliseconds(1)).map(\.summary) == ["client . 0 ack 4"])
    #expect(talk.fromServer(4, "efgh").out == ["server . 0 ack 0 'abcd'"])
    // Lost on the way: the source has its acknowledgement, so the second copy is ours, with growing patience.
    #expect(talk.pass(.milliseconds(1_199)).map(\.summary) == [])
    #expect(talk.pass(.milliseconds(1)).map(\.summary) == ["server P. 0 ack 0 'abcd'"])
    #expect(talk.pass(.milliseconds(2_399)).map(\.summary) == [])
    #expect(talk.pass(.milliseconds(1)).map(\.summary) == ["server P. 0 ack 0 'abcd'"])
    // The destination's acknowledgement ends it.
    #expect(talk.fromClient(0, acknowledging: 4).out == ["client . 0 ack 4"])
    #expect(talk.pass(.seconds(20)).filter { !$0.payload.isEmpty }.isEmpty)
  }

  /// Releases what it has a second after it was called first.
  private struct Pacer: ProcessingModule {
    static let description = ModuleDescription(
      kind: "pacer", access: .edit, holdTime: .seconds(60), paces: true, help: "Releases later.")
    private var due: Instant?

    init() {}
    init(_ arguments: Arguments) {}

    mutating func process(_ window: inout Window) {
      let due = due ?? window.now + .seconds(1)
      self.due = due
      if window.now >= due || window.mustRelease { window.releaseAll() }
      window.wake(after: due - window.now)
    }
  }

  @Test func theEndWaitsForWhatIsPacedAndIsAcknowledgedByItsDestinationAlone() throws {
    var talk = try Conversation.established([Pacer()])
    #expect(talk.fromServer(0, "abcd").out == [])
    #expect(talk.fromServer(4, flags: [.ack, .fin]).out == [])
    // Whoever has its FIN acknowledged may be gone, and reset what comes later.
    #expect(talk.pass(.milliseconds(100)).map(\.summary) == ["client . 0 ack 4"])
    #expect(talk.fromServer(4, flags: [.ack, .fin]).out == [])
    #expect(talk.pass(.milliseconds(900)).map(\.summary) == ["server FP. 0 ack 0 'abcd'"])
    #expect(talk.fromServer(4, flags: [.ack, .fin]).out == ["server F. 4 ack 0"])
    #expect(talk.fromClient(0, acknowledging: 5).out == ["client . 0 ack 5"])
  }

  @Test func whatIsPacedTakesOfTheWindow() throws {
    var talk = try Conversation.established([Pacer()])
    #expect(talk.fromServer(0, String(repeating: "a", count: 1_000)).out == [])
    let told = talk.pass(.milliseconds(100))
    #expect(told.map(\.summary) == ["client . 0 ack 1000"])
    // Of 65,535; what waits for more of the stream would take nothing.
    #expect(told.first?.tcp.window == 64_535)
  }

  @Test func duplicateAcknowledgementsOfWhatWeOweAreAnsweredHere() throws {
    let patient = ByteEditor(rule: [:], hold: 4).patient()
    var talk = try Conversation.established([patient])
    _ = talk.fromServer(0, "abcd")
    _ = talk.pass(.milliseconds(100))
    #expect(talk.fromServer(4, "efgh").out == ["server . 0 ack 0 'abcd'"])
    #expect(talk.fromClient(0, acknowledging: 0).out == [])
    #expect(talk.fromClient(0, acknowledging: 0).out == [])
    #expect(talk.fromClient(0, acknowledging: 0).out == ["server P. 0 ack 0 'abcd'"])
  }

  @Test func aDestinationThatStaysSilentIsGivenUp() throws {
    let patient = ByteEditor(rule: [:], hold: 4).patient()
    var talk = try Conversation.established([patient])
    _ = talk.fromServer(0, "abcd")
    _ = talk.pass(.milliseconds(100))
    _ = talk.fromServer(4, "efgh")
    var out: [String] = []
    for _ in 0..<900 where !out.contains(where: { $0.contains(" R.") }) { out += talk.pass(.seconds(1)).map(\.summary) }
    #expect(out.suffix(2) == ["client R. 0 ack 4", "server R. 8 ack 0"])
    #expect(talk.box.engine.statistics.engine.aborted == 1)
  }

  @Test(arguments: [false, true]) func whatIsOursToDeliverDoesNotDieWithADecoy(isIPv6: Bool) throws {
    let patient = ByteEditor(rule: [:], hold: 4).patient()
    var talk = try Conversation.established([patient], isIPv6: isIPv6)
    _ = talk.fromServer(0, "abcd")
    _ = talk.pass(.milliseconds(100))
    #expect(talk.fromServer(4, "efgh").out == ["server . 0 ack 0 'abcd'"])
    var decoy = TCPPacket(
      from: talk.server, to: talk.client, sequence: Conversation.serverStart &+ 8,
      acknowledgement: Conversation.clientStart, flags: .ack)
    decoy.setHopLimit(1)
    _ = talk.box.receive(decoy, at: talk.now)
    #expect(talk.pass(.seconds(2)).filter { !$0.payload.isEmpty }.map(\.hopLimit) == [64])
  }

  @Test func whileAGapIsOpenNothingIsForced() throws {
    var talk = try Conversation.established([Self.holder])
    #expect(talk.fromServer(0, "abcd").out == [])
    #expect(talk.fromServer(6, "gh").out.count <= 1)
    #expect(talk.pass(.milliseconds(60)).map(\.summary).filter { $0.contains("'") } == [])
    #expect(talk.fromServer(4, "xf").out == ["server . 0 ack 0 'abcd'"])
  }
}

extension ByteEditor {
  /// The same, holding for a minute.
  func patient() -> PatientEditor { PatientEditor(editor: self) }
}

/// A byte editor that holds for a minute.
struct PatientEditor: ProcessingModule {
  static let description = ModuleDescription(kind: "patient", access: .edit, holdTime: .seconds(60), help: "-")
  var editor: ByteEditor
  init(_ arguments: Arguments) { preconditionFailure("made from an editor") }
  init(editor: ByteEditor) { self.editor = editor }
  mutating func process(_ window: inout Window) { editor.process(&window) }
}
