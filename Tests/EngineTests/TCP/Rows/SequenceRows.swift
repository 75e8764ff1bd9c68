import Testing

@testable import Engine

/// Rows 2 and 3: numbers around zero, and acknowledgements in and beside what was changed.
@Suite struct SequenceRows {
  @Test("2. edits, acknowledgements, SACK and resets across 2^32") func row02_wrapAround() throws {
    // The server's numbers begin 4,095 in front of zero.
    var talk = try Exchange([ByteEditor(rule: [UInt8(ascii: "x"): []])])
    let part = [UInt8](repeating: UInt8(ascii: "a"), count: 999) + [UInt8(ascii: "x")]
    for index in 0..<8 {
      let packet = try #require(talk.fromServer(index * 1_000, payload: part).packet)
      #expect(packet.tcp.sequence == Exchange.serverStart &+ UInt32(index * 999))
      #expect(packet.payload.count == 999)
    }
    // Of 7,992 octets, the fifth thousand lies around zero.
    for index in [3, 4, 5] {
      let answer = try #require(talk.fromClient(0, acknowledging: index * 999).packet)
      #expect(answer.tcp.acknowledgement == Exchange.serverStart &+ UInt32(index * 1_000))
    }
    let block = [6 * 999, 7 * 999].flatMap { offset in
      let number = Exchange.serverStart &+ UInt32(offset)
      return [UInt8(number >> 24), UInt8(number >> 16 & 255), UInt8(number >> 8 & 255), UInt8(number & 255)]
    }
    let sack = try #require(talk.fromClient(0, acknowledging: 5 * 999, options: [1, 1, 5, 10] + block).packet)
    #expect(sack.tcp.options.sack.count == 1)
    #expect(sack.tcp.options.sack[0].left == Exchange.serverStart &+ 6_000)
    // What was sent around zero is sent again, as it was.
    let again = try #require(talk.fromServer(5_000, payload: part).packet)
    #expect(again.tcp.sequence == Exchange.serverStart &+ 5 * 999 && again.payload.count == 999)
    let reset = try #require(talk.fromServer(8_000, flags: .rst).packet)
    #expect(reset.tcp.sequence == Exchange.serverStart &+ 8 * 999)
    #expect(try talk.info().state == "closed")
  }

  @Test("3. an acknowledgement inside of what was inserted, and at the edge of what was removed")
  func row03_acknowledgements() throws {
    var talk = try Conversation.established([EditScripts.editor])
    // g becomes GGG, x goes.
    #expect(talk.fromServer(0, "agxxb").out == ["server . 0 ack 0 'aGGGb'"])
    // In front of the insertion, within it: the last octet in front of it is acknowledged.
    for number in 1...3 { #expect(talk.fromClient(0, acknowledging: number).out == ["client . 0 ack 1"]) }
    // Behind it, and so at the edge of what was removed: through that.
    #expect(talk.fromClient(0, acknowledging: 4).out == ["client . 0 ack 4"])
    #expect(talk.fromClient(0, acknowledging: 5).out == ["client . 0 ack 5"])
  }
}
