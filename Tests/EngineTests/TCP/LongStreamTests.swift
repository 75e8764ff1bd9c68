import Testing

@testable import Engine

/// What a connection remembers of a place in the stream, once gibibytes have followed and the numbers come round to it again.
@Suite struct LongStreamTests {
  private func sack(_ blocks: [(Int, Int)]) -> [UInt8] { Conversation.sack(blocks, from: Conversation.serverStart) }

  /// Has the server call an octet urgent, and goes on for three gibibytes; returns where.
  private func goBehindUrgentMark(_ talk: inout Conversation) throws -> Int {
    _ = talk.urgent(0, "ab", pointer: 1)
    _ = talk.fromClient(0, acknowledging: 2)
    var offset = 2
    for _ in 0..<3 { offset = try talk.go(on: 1 << 30, from: offset) }
    return offset
  }

  @Test("9. an urgent mark does not come back with the numbers") func row09_urgentMarkIsForgotten() throws {
    var talk = try Conversation.established([DuplicateRows.editor])
    var offset = try goBehindUrgentMark(&talk)
    offset = try talk.go(on: (1 << 32) - 1_000 - offset, from: offset)
    let packet = try #require(talk.fromServer(offset, "xa").packet)
    #expect(Array(packet.payload) == Array("---a".utf8))
    #expect(!packet.tcp.flags.contains(.urg) && packet.tcp.urgentPointer == 0)
  }

  @Test("9. an old urgent mark does not stand in the way of a new one") func row09_newUrgentMarkCounts() throws {
    var talk = try Conversation.established([DuplicateRows.editor])
    let offset = try goBehindUrgentMark(&talk)
    let packet = try #require(talk.urgent(offset, "xa", pointer: 2).packet)
    #expect(Array(packet.payload) == Array("---a".utf8))
    #expect(packet.tcp.flags.contains(.urg) && packet.tcp.urgentPointer == 4)
  }

  @Test("24. what is owed leaves at once, however much has been acknowledged before")
  func row24_congestionWindowIsBounded() throws {
    var talk = try Conversation([OwnedDeliveryRows.Gatherer(size: 4)])
    try talk.shakeHands(maximumSegment: 65_535)
    try owe(&talk, 0)
    _ = talk.fromClient(0, acknowledging: 4)
    // The congestion window grows by two segments for each acknowledgement.
    let offset = try talk.go(on: (2 << 30) + (1 << 20), from: 4, step: 130_000)
    try owe(&talk, offset)
  }

  @Test("5. an old resend of ours does not hide what the source has sent again")
  func row05_ownResendIsForgotten() throws {
    var talk = try Conversation.established([OwnedDeliveryRows.Gatherer(size: 4)])
    try owe(&talk, 0)
    #expect(talk.pass(.seconds(1)).map(\.payload.count) == [4])
    _ = talk.fromClient(0, acknowledging: 4)
    #expect(talk.fromClient(0, acknowledging: 4, options: sack([(0, 4)])).out == ["client . 0 ack 4"])
    var offset = try talk.go(on: 1 << 30, from: 4)
    offset = try talk.go(on: 1 << 30, from: offset)
    // Ours once more, and then the source's.
    try owe(&talk, offset)
    #expect(talk.pass(.seconds(1)).map(\.payload.count) == [4])
    _ = talk.fromServer(offset + 4, "efgh")
    _ = talk.fromServer(offset + 4, "efgh")
    let own = talk.fromClient(0, acknowledging: offset + 8, options: sack([(offset, offset + 4)]))
    #expect(own.packet?.tcp.options.sack.count == 0)
    let other = talk.fromClient(0, acknowledging: offset + 8, options: sack([(offset + 4, offset + 8)]))
    #expect(other.packet?.tcp.options.sack.count == 1)
  }

  /// Three octets are held and acknowledged early, and leave with the fourth.
  private func owe(_ talk: inout Conversation, _ offset: Int) throws {
    let atOnce = talk.fromServer(offset, "abc").out.count
    #expect(atOnce + talk.pass(.milliseconds(100)).count == 1)
    #expect(talk.fromServer(offset + 3, "d").packet?.payload == ArraySlice("abcd".utf8))
  }
}

extension Conversation {
  /// Has the server send `count` octets from `offset` on, which the client acknowledges `step` by `step`. They pass the engine
  /// without their packets, but for the last. Returns where the server goes on.
  mutating func go(on count: Int, from offset: Int, step: Int = 1 << 29) throws -> Int {
    let pool = box.engine.environment.pool
    let found = box.engine.connections.find(ConnectionKey(client, server))
    let slot = try #require(found)
    var left = count - 4
    while left > 0 {
      let count = min(left, step)
      let slab = pool.allocateReserved(atLeast: 1)
      // Nobody looks at them.
      let octets = Segment.kept(
        slab, 0, UInt32(count), source: box.engine.connections[slot][.toClient].receiver.next)
      var stream = SegmentQueue()
      _ = box.engine.connections[slot][.toClient].receiver.accept(octets, to: &stream, in: pool)
      box.engine.connections[slot][.toClient].sender.append(&stream, in: pool)
      let end = box.engine.connections[slot][.toClient].sender.map.outputEnd
      box.engine.connections[slot][.toClient].sender.sent(upTo: end, at: now)
      let isNews = box.engine.connections[slot][.toClient].sender.acknowledge(
        end, window: 60_000, isBare: true, at: now, in: pool)
      #expect(isNews)
      _ = box.engine.connections[slot][.toClient].sender.translate(end, window: 60_000)
      left -= count
    }
    _ = fromServer(offset + count - 4, "abcd")
    let end = box.engine.connections[slot][.toClient].sender.next
    _ = fromClient(0, acknowledging: end - OutSequence(Self.serverStart))
    return offset + count
  }
}
