import Testing

@testable import Engine

/// What may happen while a connection opens (RFC 9293 section 3.5).
@Suite struct OpeningTests {
  static let editor = ByteEditor(rule: [1: []])
  static let options: [UInt8] = [2, 4, 5, 0xb4]

  /// Opens, with `interfere` between SYN and SYN-ACK; whether the connection is edited then.
  private func isEdited(_ interfere: (inout Exchange) -> Void) throws -> Bool {
    var conversation = try Exchange(unopened: [Self.editor])
    _ = conversation.fromClient(-1, flags: .syn, options: Self.options)
    interfere(&conversation)
    _ = conversation.fromServer(-1, acknowledging: 0, flags: [.syn, .ack], options: Self.options)
    _ = conversation.fromClient(0)
    return conversation.fromClient(0, payload: [1, 5]).packet?.payload == [5]
  }

  @Test func strayPacketOfTheServerDoesNotEndEditing() throws {
    // Of an earlier connection with these ports, or forged.
    let strays: [(inout Exchange) -> Void] = [
      { _ in },
      { _ = $0.fromServer(-5_000, acknowledging: 7_000) },
      { _ = $0.fromServer(-5_000, acknowledging: 7_000, flags: [.ack, .fin], payload: [4]) },
      { _ = $0.fromServer(-5_000, acknowledging: 7_000, flags: [.syn, .ack]) },
      { _ = $0.fromServer(0, acknowledging: 7_000, flags: [.rst, .ack]) },
      { _ = $0.fromServer(7_000, flags: .rst) },
      { _ = $0.fromServer(7_000, flags: [.rst, .syn]) },
      { _ = $0.fromServer(-1, acknowledging: 0, flags: [.rst, .syn, .ack]) },
    ]
    for (index, stray) in strays.enumerated() {
      let isEdited = try isEdited(stray)
      #expect(isEdited, "after stray \(index)")
    }
  }

  /// Packets of a hostile client that come between its SYN and the answer, and need not arrive anywhere.
  static let decoys: [@Sendable (inout Exchange) -> Void] = [
    { _ = $0.fromClient(0) },
    { _ = $0.fromClient(0, acknowledging: 77, payload: [7]) },
    { _ = $0.fromClient(500, acknowledging: 77, payload: [7]) },
    { _ = $0.fromClient(-1, flags: .syn, options: OpeningRows.signature) },
    { _ = $0.fromClient(-1, flags: .syn, options: [30, 12, 0x10, 0] + [UInt8](repeating: 0, count: 8)) },
    { _ = $0.fromClient(-1, flags: .syn, options: OpeningRows.cookie, payload: [7]) },
    { _ = $0.fromClient(90_000, flags: .syn) },
    { _ = $0.fromClient(90_000, flags: [.rst, .syn]) },
    {
      _ = $0.fromClient(90_000, flags: .syn)
      _ = $0.fromClient(90_001, acknowledging: 77, payload: [7])
    },
  ]

  @Test(arguments: decoys.indices) func decoyOfTheClientDoesNotEndEditing(_ index: Int) throws {
    var conversation = try Exchange(unopened: [Self.editor])
    _ = conversation.fromClient(-1, flags: .syn, options: Self.options)
    Self.decoys[index](&conversation)
    if conversation.fromServer(-1, acknowledging: 0, flags: [.syn, .ack], options: Self.options).kind == .dropped {
      // The connection that opens is the one whose SYN has passed last.
      _ = conversation.fromClient(-1, flags: .syn, options: Self.options)
      _ = conversation.fromServer(-1, acknowledging: 0, flags: [.syn, .ack], options: Self.options)
    }
    _ = conversation.fromClient(0)
    #expect(conversation.fromClient(0, payload: [1, 5]).packet?.payload == [5])
  }

  @Test(arguments: [
    OpeningRows.signature, [30, 12, 0x10, 0] + [UInt8](repeating: 0, count: 8), OpeningRows.multipath,
    OpeningRows.cookie,
  ]) func repeatedSYNWithOtherOptionsDoesNotEndEditing(options: [UInt8]) throws {
    for modules in [[Self.editor], [Reader()]] as [[any ProcessingModule]] {
      var conversation = try Exchange(modules)
      _ = conversation.fromClient(-1, flags: .syn, options: options, payload: [7])
      #expect(conversation.fromServer(-1, acknowledging: 0, flags: [.syn, .ack], options: options).packet != nil)
      #expect(try conversation.info().state == "established")
    }
  }

  @Test func whatTheServerAgreesToHoldsWhicheverSYNOfferedIt() throws {
    var conversation = try Exchange(unopened: [ByteEditor(rule: [:], hold: 4).patient()])
    let stamp: [UInt8] = [1, 1, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0]
    _ = conversation.fromClient(-1, flags: .syn, options: Self.options + stamp)
    // Sent again without, as some do when no answer comes; the answer is to the first.
    _ = conversation.fromClient(-1, flags: .syn, options: Self.options)
    _ = conversation.fromServer(-1, acknowledging: 0, flags: [.syn, .ack], options: Self.options + stamp)
    _ = conversation.fromClient(0, options: stamp)
    _ = conversation.fromClient(0, options: stamp, payload: [1, 2, 3, 4])
    #expect(conversation.wait(.milliseconds(100)).map(\.tcp.options.timestamps?.value) == [9])
  }

  @Test func theClientSaysWhichOfSeveralAnswersItHasTaken() throws {
    for modules in [[Self.editor], [Reader()]] as [[any ProcessingModule]] {
      var conversation = try Exchange(unopened: modules)
      let answer: TCPFlags = [.syn, .ack]
      _ = conversation.fromClient(-1, flags: .syn, options: Self.options)
      _ = conversation.fromServer(-1, acknowledging: 0, flags: answer, options: Self.options)
      #expect(conversation.fromServer(-11, acknowledging: 0, flags: answer, options: Self.options).packet != nil)
      // It has taken the first; nothing passes that would be read in other places.
      #expect(conversation.fromClient(0).kind == .dropped)
      #expect(conversation.fromServer(0, payload: [9]).kind == .dropped)
      // The server says so again.
      #expect(conversation.fromServer(-1, acknowledging: 0, flags: answer, options: Self.options).packet != nil)
      #expect(conversation.fromClient(0).packet != nil)
      #expect(conversation.fromServer(0, payload: [9]).packet?.payload == [9])
      #expect(try conversation.info().toClient.octetsIn == 1)
      // What is left of the other changes nothing.
      #expect(conversation.fromServer(-11, acknowledging: 0, flags: answer, options: Self.options).packet != nil)
      #expect(conversation.fromServer(1, payload: [8]).packet?.payload == [8])
    }
  }

  @Test func answerToAnUnknownSYNDoesNotPass() throws {
    var conversation = try Exchange([Reader()])
    let answer = conversation.fromServer(-11, acknowledging: 30_000, flags: [.syn, .ack], options: Self.options)
    #expect(answer.kind == .dropped)
  }

  /// No end takes it for the SYN of another connection.
  @Test func resetThatIsASYNAsWellOpensNothing() throws {
    var conversation = try Exchange(unopened: [Self.editor])
    _ = conversation.fromClient(-1, flags: .syn, options: Self.options)
    _ = conversation.fromClient(90_000, flags: [.rst, .syn], options: Self.options)
    let answer = conversation.fromServer(-1, acknowledging: 0, flags: [.syn, .ack], options: Self.options)
    #expect(answer.packet != nil)
    _ = conversation.fromServer(-1, acknowledging: 0, flags: [.rst, .syn, .ack], options: Self.options)
    #expect(conversation.fromClient(0, payload: [1, 5]).packet?.payload == [5])
    let connections = conversation.statistics.connections
    #expect(connections == 1)
  }

  @Test func decoyOfAResetDoesNotEndEditing() throws {
    var conversation = try Exchange(unopened: [Self.editor])
    _ = conversation.fromClient(-1, flags: .syn, options: Self.options)
    _ = conversation.fromServer(0, acknowledging: 0, flags: [.rst, .ack])
    _ = conversation.fromServer(-1, acknowledging: 0, flags: [.syn, .ack], options: Self.options)
    _ = conversation.fromClient(0)
    #expect(conversation.fromServer(0, payload: [1, 5]).packet?.payload == [5])
  }

  @Test func dataOfASYNThatIsNotTakenIsReadWhenItComesAgain() throws {
    var conversation = try Exchange(unopened: [Reader()])
    _ = conversation.fromClient(-1, flags: .syn, options: Self.options, payload: [7, 7, 7])
    _ = conversation.fromServer(-1, acknowledging: 0, flags: [.syn, .ack], options: Self.options)
    _ = conversation.fromClient(0, payload: [1, 5])
    #expect(try conversation.info().state == "established")
    #expect(try conversation.info().toServer.octetsIn == 2)
  }
}
