import Testing

@testable import Engine

/// Connections that the control side asks for by their number, and ends.
@Suite struct KillTests {
  @Test func bothEndsAreResetWithTheNumbersTheyExpect() throws {
    var talk = try Conversation.established([EditScripts.editor])
    _ = talk.fromServer(0, "axb")
    _ = talk.fromClient(0, "hi", acknowledging: 2)
    let id = try #require(talk.box.engine.connections(limit: 1).first).id
    #expect(talk.box.engine.connection(id)?.state == "established")
    let isKilled = talk.box.engine.kill(connection: id, at: talk.now)
    #expect(isKilled)
    #expect(talk.box.takeInjections().map(\.summary) == ["client R. 701 ack 3", "server R. 2 ack 0"])
    #expect(talk.fromServer(3, "c", acknowledging: 701).kind == .dropped)
    #expect(talk.fromClient(2, "j", acknowledging: 2).kind == .dropped)
    #expect(talk.box.engine.connection(id)?.state == "cut")

    let isKilledAgain = talk.box.engine.kill(connection: id, at: talk.now)
    #expect(isKilledAgain)
    #expect(talk.box.takeInjections().isEmpty)
    #expect(talk.box.engine.statistics.engine.cut == 1)
  }

  @Test func anotherNumberIsNoConnection() throws {
    var talk = try Conversation.established([EditScripts.editor])
    let id = try #require(talk.box.engine.connections(limit: 1).first).id
    let isKilled = talk.box.engine.kill(connection: id + 1, at: talk.now)
    #expect(!isKilled)
    #expect(talk.box.engine.connection(id + 1) == nil)
    #expect(talk.fromServer(0, "a").kind == .accepted)
  }

  @Test func whatModulesHoldIsSummedUp() throws {
    struct Keeper: ProcessingModule {
      static let description = ModuleDescription(kind: "keeper", access: .read, help: "Keeps the last three octets.")
      init(_ arguments: Arguments) {}
      init() {}
      mutating func process(_ window: inout Window) { window.release(upTo: max(0, window.count - 3)) }
    }
    var talk = try Conversation.established([Keeper(), EditScripts.editor])
    _ = talk.fromServer(0, "abcde")
    _ = talk.fromClient(0, "hi", acknowledging: 2)
    #expect(talk.box.engine.octetsHeld == [1: 5])
  }

  @Test func nothingIsDueForWhatModulesHeld() throws {
    var talk = try Conversation.established([ByteEditor(rule: [:], hold: 5)])
    _ = talk.fromServer(0, "abc")
    #expect(try kill(&talk).count == 2)
    // An engine that finds the same thing due again and again never returns.
    #expect(talk.pass(.seconds(1)).isEmpty)
    #expect(talk.pass(.seconds(60)).isEmpty)
    #expect(talk.box.engine.connections(limit: 1).isEmpty)
  }

  // MARK: Connections that are only observed

  /// A connection between a client and a server of which nothing was seen when it opened.
  private func midstream(_ modules: [any ProcessingModule]) throws -> Conversation {
    var talk = try Conversation(modules)
    _ = talk.fromClient(100, "abc", acknowledging: 50)
    _ = talk.fromServer(50, "defg", acknowledging: 103)
    _ = talk.fromClient(103, acknowledging: 54)
    #expect(talk.box.engine.connections(limit: 1).first?.state == "midstream")
    return talk
  }

  private func kill(_ talk: inout Conversation) throws -> [String] {
    let id = try #require(talk.box.engine.connections(limit: 1).first).id
    let isKilled = talk.box.engine.kill(connection: id, at: talk.now)
    #expect(isKilled)
    #expect(talk.box.engine.connection(id)?.state == "cut")
    return talk.box.takeInjections().map(\.summary)
  }

  @Test func connectionInMidstreamIsResetWithTheNumbersSeenLast() throws {
    var talk = try midstream([])
    #expect(try kill(&talk) == ["client R. 103 ack 54", "server R. 54 ack 103"])
    #expect(talk.fromServer(54, "c", acknowledging: 103).kind == .dropped)
    #expect(talk.fromClient(103, "j", acknowledging: 54).kind == .dropped)
  }

  @Test func whatIsUnderWayMayBeLost() throws {
    var talk = try midstream([])
    // Behind what has passed, and at what its destination has last asked for.
    _ = talk.fromServer(54, "lost", acknowledging: 103)
    #expect(try kill(&talk) == ["client R. 103 ack 54", "server R. 58 ack 103", "server R. 54 ack 103"])
  }

  @Test func oldAndWildNumbersCountForNothing() throws {
    var talk = try midstream([])
    _ = talk.fromClient(90, "old", acknowledging: 40)
    _ = talk.fromServer(53, acknowledging: 103)
    #expect(try kill(&talk) == ["client R. 103 ack 54", "server R. 54 ack 103"])
    talk = try midstream([])
    // Whoever does not want the other end to hear of it.
    _ = talk.fromClient(1_000_000, "wild", acknowledging: 54)
    #expect(try kill(&talk).contains("client R. 103 ack 54"))
  }

  @Test func endOfAStreamCounts() throws {
    var talk = try midstream([])
    _ = talk.fromServer(54, "bye", acknowledging: 103, flags: [.ack, .fin])
    _ = talk.fromClient(103, acknowledging: 58)
    #expect(try kill(&talk) == ["client R. 103 ack 58", "server R. 58 ack 103"])
  }

  @Test func oneDirectionSeenTellsOfBoth() throws {
    var talk = try Conversation([])
    _ = talk.fromServer(50, "defg", acknowledging: 103)
    #expect(try kill(&talk).sorted() == ["client R. 103 ack 54", "server R. 54 ack 103"])
  }

  @Test func unansweredSynIsRefused() throws {
    for modules: [any ProcessingModule] in [[], [EditScripts.editor]] {
      var talk = try Conversation(modules)
      _ = talk.fromClient(-1, acknowledging: 0, flags: .syn)
      // The client takes a reset that acknowledges its SYN, whatever its number.
      #expect(try kill(&talk).contains { $0.hasPrefix("server R.") && $0.hasSuffix(" ack 0") })
    }
  }

  @Test(arguments: [false, true]) func signedConnectionIsReset(isIPv6: Bool) throws {
    var talk = try Conversation([], isIPv6: isIPv6)
    let signature: [UInt8] = [19, 18] + [UInt8](repeating: 1, count: 16) + [1, 1]
    _ = talk.fromClient(-1, acknowledging: 0, flags: .syn, options: signature)
    _ = talk.fromServer(-1, acknowledging: 0, flags: [.syn, .ack], options: signature)
    #expect(talk.box.engine.connections(limit: 1).first?.state == "signed")
    #expect(try kill(&talk) == ["client R. 0 ack 0", "server R. 0 ack 0"])
  }

  @Test func moduleResetsWhatItOnlyReads() throws {
    struct Guard: ProcessingModule {
      static let description = ModuleDescription(kind: "guard", access: .read, help: "Cuts off what says no.")
      init(_ arguments: Arguments) {}
      init() {}
      mutating func process(_ window: inout Window) {
        if window.find("no") != nil { window.reset() }
        window.releaseAll()
      }
    }
    var talk = try midstream([Guard()])
    let outcome = talk.fromServer(54, "no!", acknowledging: 103)
    #expect(outcome.kind == .dropped)
    // What was to be cut off has not passed.
    #expect(outcome.out == ["client R. 103 ack 54", "server R. 54 ack 103"])
  }
}
