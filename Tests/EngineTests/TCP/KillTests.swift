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
}
