import Testing

@testable import Engine

/// Of octets that come twice with different content the first copy counts, for the modules and on the wire.
@Suite struct FirstCopyTests {
  @Test("20. a segment in turn does not replace what came before its turn")
  func row20_segmentInTurnDoesNotReplaceWhatCameBeforeItsTurn() throws {
    var conversation = try Exchange([Reader()])
    let early = conversation.fromClient(10, payload: Array("GOOD!".utf8))
    #expect(early.kind == .accepted)
    let outcome = conversation.fromClient(0, payload: Array("0123456789EVIL!".utf8))
    let octets = outcome.octets(to: Exchange.server, from: Exchange.clientStart)
    for (offset, byte) in "0123456789GOOD!".utf8.enumerated() {
      if let left = octets[offset] { #expect(left == byte, "at \(offset)") }
    }
    #expect((0..<10).filter { octets[$0] == nil } == [])
  }

  @Test func whatPassedBeyondTheWindowBehindAContradictionStaysSent() throws {
    var conversation = try Exchange([Reader()], window: 1_000)
    _ = conversation.fromClient(900, payload: [UInt8](repeating: 7, count: 1_400))
    _ = conversation.fromClient(0, payload: [UInt8](repeating: 8, count: 910))
    // The destination has all of it, and opens its window.
    _ = conversation.fromServer(0, acknowledging: 2_300, window: 20_000)
    _ = conversation.fromClient(2_300, payload: [5, 5, 5])
    let octets = try conversation.info().toServer.octetsIn
    #expect(octets == 2_303)
  }

  @Test func destinationItselfTellsWhatItMissesWhereNothingEdits() throws {
    var conversation = try Exchange([Reader()])
    _ = conversation.fromClient(0, payload: [5])
    _ = conversation.fromClient(100, payload: [6, 6])
    _ = conversation.fromClient(200, payload: [7, 7])
    // The segment at 100 was lost behind us: the source must not be told that it has arrived.
    let start = Exchange.clientStart
    func octets(_ number: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: number >> (24 - 8 * $0)) } }
    let outcome = conversation.fromServer(
      0, acknowledging: 1, options: [1, 1, 5, 10] + octets(start &+ 200) + octets(start &+ 202))
    let sack = try #require(outcome.packets.first).tcp.options.sack
    #expect(sack.count == 1)
    #expect(sack[0].left == start &+ 200)
  }
}
