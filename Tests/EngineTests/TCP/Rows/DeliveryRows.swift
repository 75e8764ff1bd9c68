import Testing

@testable import Engine

/// Rows 22, 25 and 26: acknowledgements that say the same, probes of ours, and segments behind the end.
@Suite struct DeliveryRows {
  @Test("22. duplicate acknowledgements keep their number, each of them") func row22_duplicates() throws {
    var talk = try Conversation.established([EditScripts.editor])
    #expect(talk.fromServer(0, "abxx").out == ["server . 0 ack 0 'ab'"])
    #expect(talk.fromClient(0, acknowledging: 2).out == ["client . 0 ack 4"])
    for offset in [4, 6, 8, 10] { _ = talk.fromServer(offset, "cd") }
    // The first of the four is lost behind us, and the client says so three times.
    for _ in 0..<3 { #expect(talk.fromClient(0, acknowledging: 2).out == ["client . 0 ack 4"]) }
    // The source's fast retransmit finds what left in its place.
    #expect(talk.fromServer(4, "cd").out == ["server . 2 ack 0 'cd'"])
    #expect(talk.fromClient(0, acknowledging: 10).out == ["client . 0 ack 12"])
  }

  @Test("25. a closed window is probed, ever more seldom, until it opens") func row25_persistTimer() throws {
    // What is held is acknowledged early, so it is ours to deliver once it is released.
    var talk = try Exchange([LivenessTests.grow, LivenessTests.Patient()], window: 4)
    _ = talk.fromClient(0, payload: [2, 8, 9])
    let released = talk.wait(.milliseconds(1_001)).filter { !$0.payload.isEmpty }
    #expect(released.map(\.payload.count) == [4])
    _ = talk.fromServer(0, acknowledging: 4, window: 0)
    var times: [Int64] = []
    for time in stride(from: 100, through: 30_000, by: 100) as StrideThrough<Int64> {
      for probe in talk.wait(.milliseconds(100)) where !probe.payload.isEmpty {
        #expect(probe.tcp.sequence == Exchange.clientStart + 4 && Array(probe.payload) == [8])
        times.append(time)
        // It is still closed.
        _ = talk.fromServer(0, acknowledging: 4, window: 0)
      }
    }
    #expect(times.count > 4 && times.first.map { $0 <= 1_000 } == true)
    let gaps = zip(times.dropFirst(), times).map { $0 - $1 }
    for (gap, before) in zip(gaps.dropFirst(), gaps) { #expect(abs(gap - 2 * before) <= 200) }
    let opened = talk.fromServer(0, acknowledging: 4, window: 100)
    #expect(opened.octets(to: Exchange.server, from: Exchange.clientStart) == [4: 8, 5: 9])
  }

  @Test("26. behind the end late segments are mapped, and keep TIME-WAIT") func row26_timeWait() throws {
    var talk = try Conversation.established([EditScripts.editor])
    #expect(talk.fromServer(0, "abxx", flags: [.ack, .fin]).out == ["server F. 0 ack 0 'ab'"])
    #expect(talk.fromClient(0, acknowledging: 3, flags: [.ack, .fin]).out == ["client F. 0 ack 5"])
    #expect(talk.fromServer(5, acknowledging: 1).out == ["server . 3 ack 1"])
    #expect(talk.box.engine.connections(limit: 1).first?.state == "time-wait")
    for _ in 0..<3 {
      _ = talk.pass(.seconds(20))
      // The last acknowledgement was lost: the server sends its end again, and the client acknowledges it again.
      #expect(talk.fromServer(4, acknowledging: 1, flags: [.ack, .fin]).out.count == 1)
      #expect(talk.fromClient(1, acknowledging: 3).out == ["client . 1 ack 5"])
      #expect(talk.box.engine.connections(limit: 1).first?.state == "time-wait")
    }
    _ = talk.pass(.seconds(31))
    #expect(talk.box.engine.connections(limit: 1).isEmpty)
  }
}
