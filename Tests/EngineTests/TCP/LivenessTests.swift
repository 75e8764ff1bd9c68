import Testing

@testable import Engine

/// Probes for a peer's life and for its window (RFC 9293 sections 3.8.4 and 3.8.6.1) are answered by that peer, and only by it.
@Suite struct LivenessTests {
  /// Holds everything for a second.
  struct Patient: ProcessingModule {
    static let description = ModuleDescription(kind: "patient", access: .edit, holdTime: .seconds(1), help: "Holds.")
    init(_ arguments: Arguments) {}
    init() {}
    mutating func process(_ window: inout Window) {}
  }

  static let grow = ByteEditor(rule: [2: [2, 2, 2, 2]])

  @Test func octetBeyondAClosedWindowReachesTheDestination() throws {
    var conversation = try Exchange([Self.grow], window: 4)
    _ = conversation.fromClient(0, payload: [2])
    _ = conversation.fromServer(0, acknowledging: 4, window: 0)
    // The update of the window is lost; the source probes with its next octet.
    let first = conversation.fromClient(1, payload: [9])
    #expect(first.octets(to: Exchange.server, from: Exchange.clientStart) == [4: 9])
    let again = conversation.fromClient(1, payload: [9])
    #expect(again.octets(to: Exchange.server, from: Exchange.clientStart) == [4: 9])
  }

  @Test func octetThatProbedAClosedWindowIsSentAgainWhenItOpens() throws {
    var conversation = try Exchange([Self.grow], window: 4)
    _ = conversation.fromClient(0, payload: [2, 8, 9])
    _ = conversation.fromServer(0, acknowledging: 4, window: 0)
    let probe = conversation.fromClient(0, payload: [2, 8, 9])
    #expect(probe.octets(to: Exchange.server, from: Exchange.clientStart) == [4: 8])
    let refused = conversation.fromServer(0, acknowledging: 4, window: 0)
    #expect(refused.octets(to: Exchange.server, from: Exchange.clientStart) == [:])
    // The source would send it again too, but its timer has backed off for as long as the window was closed.
    let opened = conversation.fromServer(0, acknowledging: 4, window: 1)
    #expect(opened.octets(to: Exchange.server, from: Exchange.clientStart) == [4: 8])
    let more = conversation.fromServer(0, acknowledging: 5, window: 100)
    #expect(more.octets(to: Exchange.server, from: Exchange.clientStart) == [5: 9])
  }

  @Test func whatWaitsForAClosedWindowIsNotTakenForLostByItsSource() throws {
    var conversation = try Exchange([Self.grow], window: 4)
    _ = conversation.fromClient(0, payload: [2, 8, 9])
    let shut = conversation.fromServer(0, acknowledging: 4, window: 0)
    #expect(shut.packets.map(\.tcp.acknowledgement) == [Exchange.clientStart + 1])
    // Its window had room for all of it. Without an acknowledgement it would give up a destination that lives.
    let again = conversation.fromClient(0, payload: [2, 8, 9])
    #expect(again.injected.last?.tcp.acknowledgement == Exchange.clientStart + 3)
    // And what the destination answers to probes keeps it waiting.
    let answer = conversation.fromServer(0, acknowledging: 4, window: 0).packet
    #expect(answer?.tcp.acknowledgement == Exchange.clientStart + 3 && answer?.tcp.window == 1)
    // A probe of its own asks for what the destination has not taken.
    let probe = conversation.fromClient(2).packet
    #expect(probe?.tcp.sequence == Exchange.clientStart + 3)
    for _ in 0..<200 {
      _ = conversation.wait(.seconds(10))
      _ = conversation.fromServer(0, acknowledging: 4, window: 0)
    }
    let opened = conversation.fromServer(0, acknowledging: 4, window: 100)
    #expect(opened.octets(to: Exchange.server, from: Exchange.clientStart) == [4: 8, 5: 9])
  }

  @Test func octetThatProbedAWindowThatWasOpenIsNotSentAgain() throws {
    var conversation = try Exchange([Self.grow], window: 4)
    _ = conversation.fromClient(0, payload: [2, 8, 9])
    _ = conversation.fromServer(0, acknowledging: 4, window: 0)
    _ = conversation.fromClient(0, payload: [2, 8, 9])
    let taken = conversation.fromServer(0, acknowledging: 5, window: 100)
    #expect(taken.octets(to: Exchange.server, from: Exchange.clientStart) == [5: 9])
  }

  @Test func closedWindowIsWaitedForAsLongAsTheDestinationAnswers() throws {
    var conversation = try Exchange([Patient()], window: 100)
    _ = conversation.fromClient(0, payload: [5, 5])
    // Held, acknowledged early, and then kept from the destination by its window.
    _ = conversation.wait(.milliseconds(1_500))
    _ = conversation.fromServer(0, acknowledging: 0, window: 0)
    for _ in 0..<200 {
      _ = conversation.wait(.seconds(10))
      _ = conversation.fromServer(0, acknowledging: 0, window: 0)
    }
    let seen = try conversation.info().state
    #expect(seen == "established")
    let aborted = conversation.statistics.engine.aborted
    #expect(aborted == 0)
  }

  @Test func silentDestinationIsGivenUp() throws {
    var conversation = try Exchange([Patient()], window: 100)
    _ = conversation.fromClient(0, payload: [5, 5])
    let injected = conversation.wait(.seconds(1_000))
    #expect(injected.filter { $0.tcp.flags.contains(.rst) }.count == 2)
  }

  @Test func keepAliveOfTheDestinationReachesTheSourceWhileWeOwe() throws {
    var conversation = try Exchange([Patient()], window: 100)
    _ = conversation.fromServer(0, payload: [7])
    _ = conversation.fromClient(0, acknowledging: 1, payload: [5, 5])
    _ = conversation.wait(.milliseconds(1_500))
    let outcome = conversation.fromServer(0, acknowledging: 0)
    #expect(outcome.packet?.tcp.sequence == Exchange.serverStart)
  }
}
