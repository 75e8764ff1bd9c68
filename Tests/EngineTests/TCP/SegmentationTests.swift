import ModuleTesting
import Testing

@testable import Engine

/// What the destination gets is the edit of what the source sent first, for any segmentation, order, repetition, overlap
/// and contradiction, and whatever of it is lost on the way.
@Suite struct SegmentationTests {
  /// A destination that takes what it gets and acknowledges at random.
  private struct Destination {
    var start: UInt32
    var octets: [UInt8?] = []
    var finish: Int?

    /// Octets without a gap in front.
    var complete: Int { octets.firstIndex { $0 == nil } ?? octets.count }

    mutating func take(_ packet: TCPPacket, _ seed: UInt64) {
      let tcp = packet.tcp
      let offset = Int(Int32(bitPattern: tcp.sequence &- start))
      for (index, byte) in packet.payload.enumerated() where offset + index >= 0 {
        while octets.count <= offset + index { octets.append(nil) }
        if let known = octets[offset + index] {
          #expect(known == byte, "an octet came with two values, seed \(seed)")
        } else {
          octets[offset + index] = byte
        }
      }
      if tcp.flags.contains(.fin) { finish = offset + packet.payload.count }
    }
  }

  @Test(arguments: [false, true]) func anySegmentationGivesTheSame(isEvil: Bool) throws {
    for seed in 0..<150 as Range<UInt64> { try Self.run(seed, isEvil) }
  }

  private static func run(_ seed: UInt64, _ isEvil: Bool) throws {
    var random = SplitMix(seed: seed)
    let editor = ByteEditor(
      rule: [SimulationTests.shrink, SimulationTests.grow, SimulationTests.mixed][Int(seed % 3)],
      hold: Int.random(in: 0...5, using: &random))
    let data = SimulationTests.bytes(Int.random(in: 1...4_000, using: &random), &random)
    let expected = editor.edit(data)
    let start = UInt32.random(in: .min ... .max, using: &random)
    var talk = try Conversation([editor])
    var destination = Destination(start: start)
    // A handshake with the server's numbers beginning anywhere.
    _ = talk.box.receive(
      TCPPacket(from: talk.client, to: talk.server, sequence: 0, flags: .syn, options: [2, 4, 3, 232]), at: talk.now)
    _ = talk.box.receive(
      TCPPacket(
        from: talk.server, to: talk.client, sequence: start &- 1, acknowledgement: 1, flags: [.syn, .ack],
        options: [2, 4, 3, 232]), at: talk.now)
    var told = 0
    var isSent = [Bool](repeating: false, count: data.count)
    var rounds = 0
    while destination.finish == nil || destination.complete < expected.count {
      rounds += 1
      guard rounds < 20_000 else {
        Issue.record("no end, seed \(seed): \(destination.complete) of \(expected.count)")
        return
      }
      talk.now = talk.now + .milliseconds(3)
      var out = talk.box.advance(to: talk.now)
      // Mostly near to what is acknowledged; sometimes anywhere.
      let from =
        random.once(in: 6)
        ? Int.random(in: 0...data.count, using: &random)
        : min(data.count, max(0, told + Int.random(in: -40...200, using: &random)))
      let upTo = min(data.count, from + Int.random(in: 0...(random.once(in: 3) ? 8 : 900), using: &random))
      var payload = Array(data[from..<upTo])
      // What is sent a second time may say something else; only the first copy counts.
      for index in payload.indices where isEvil && isSent[from + index] && random.once(in: 20) {
        payload[index] ^= 0x55
      }
      for index in from..<upTo { isSent[index] = true }
      let outcome = talk.box.receive(
        TCPPacket(
          from: talk.server, to: talk.client, sequence: start &+ UInt32(from), acknowledgement: 1,
          flags: upTo == data.count ? [.ack, .fin] : .ack, payload: payload), at: talk.now)
      out += [outcome.packet].compactMap { $0 } + outcome.injected
      if random.once(in: 2) {
        let end = destination.complete + (destination.finish == destination.complete ? 1 : 0)
        let answer = talk.box.receive(
          TCPPacket(
            from: talk.client, to: talk.server, sequence: 1, acknowledgement: start &+ UInt32(end), flags: .ack),
          at: talk.now)
        out += [answer.packet].compactMap { $0 } + answer.injected
      }
      for packet in out {
        if packet.headers?.ip.source == talk.server.address {
          if !random.once(in: 4) { destination.take(packet, seed) }
        } else {
          let number = Int(Int32(bitPattern: packet.tcp.acknowledgement &- start))
          #expect(number <= data.count + 1, "acknowledges what was not sent, seed \(seed)")
          told = max(told, min(number, data.count))
        }
      }
    }
    #expect(destination.octets.compactMap { $0 } == expected, "seed \(seed)")
    #expect(destination.finish == expected.count, "seed \(seed)")
  }
}
