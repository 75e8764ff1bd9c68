import Testing

@testable import Engine

/// D-SACK (RFC 2883) and urgent data through edits.
@Suite struct DuplicateRows {
  static let editor = ByteEditor(rule: [UInt8(ascii: "x"): Array("---".utf8), UInt8(ascii: "z"): []])

  private func sack(_ blocks: [(Int, Int)]) -> [UInt8] { Conversation.sack(blocks, from: Conversation.serverStart) }

  @Test("5. D-SACK is translated") func row05_duplicateReportIsTranslated() throws {
    var talk = try Conversation.established([Self.editor])
    #expect(talk.fromServer(0, "axbx").out == ["server . 0 ack 0 'a---b---'"])
    #expect(talk.fromServer(4, "zcde").out == ["server . 8 ack 0 'cde'"])
    #expect(talk.fromClient(0, acknowledging: 11).out == ["client . 0 ack 8"])
    // 'b' and the insertion behind it, then what came behind the removal.
    #expect(talk.fromClient(0, acknowledging: 11, options: sack([(4, 8)])).out == ["client . 0 ack 8 sack 2-3"])
    #expect(talk.fromClient(0, acknowledging: 11, options: sack([(8, 11)])).out == ["client . 0 ack 8 sack 5-8"])
    #expect(talk.fromClient(0, acknowledging: 11, options: sack([(0, 11)])).out == ["client . 0 ack 8 sack 0-8"])
    // All of it was made here: there is nothing to report.
    #expect(talk.fromClient(0, acknowledging: 11, options: sack([(2, 4)])).out == ["client . 0 ack 8"])
  }

  @Test("5. D-SACK of our own resend is suppressed") func row05_ownResendIsNotReported() throws {
    var talk = try Conversation.established([ByteEditor(rule: [:], hold: 4).patient()])
    _ = talk.fromServer(0, "abcd")
    #expect(talk.pass(.milliseconds(100)).map(\.summary) == ["client . 0 ack 4"])
    #expect(talk.fromServer(4, "efgh").out == ["server . 0 ack 0 'abcd'"])
    #expect(talk.pass(.seconds(1)).map(\.summary) == ["server P. 0 ack 0 'abcd'"])
    _ = talk.fromClient(0, acknowledging: 4)
    #expect(talk.fromClient(0, acknowledging: 4, options: sack([(0, 4)])).out == ["client . 0 ack 4"])
  }

  @Test("9. the urgent pointer goes with its octet") func row09_urgentPointerIsMapped() throws {
    var talk = try Conversation.established([Self.editor])
    // Urgent up to and with 'b'.
    let packet = try #require(talk.urgent(0, "axbc", pointer: 3).packet)
    #expect(packet.summary == "server . 0 ack 0 'a---bc'")
    #expect(packet.tcp.flags.contains(.urg) && packet.tcp.urgentPointer == 5)
    // A retransmission in another cut says the same.
    let again = try #require(talk.urgent(2, "bc", pointer: 1).packet)
    #expect(again.summary == "server . 1 ack 0 '---bc'")
    #expect(again.tcp.flags.contains(.urg) && again.tcp.urgentPointer == 4)
    // What comes behind it is not urgent.
    _ = talk.fromClient(0, acknowledging: 6)
    #expect(talk.fromServer(4, "xd").packet?.tcp.flags.contains(.urg) == false)
  }

  @Test("9. the urgent flag is cleared where its octet is gone") func row09_urgentOctetIsRemoved() throws {
    var talk = try Conversation.established([Self.editor])
    let packet = try #require(talk.urgent(0, "azb", pointer: 2).packet)
    #expect(packet.summary == "server . 0 ack 0 'ab'")
    #expect(!packet.tcp.flags.contains(.urg) && packet.tcp.urgentPointer == 0)
  }
}

extension Conversation {
  /// A segment of the server's with an urgent pointer.
  mutating func urgent(_ offset: Int, _ text: String, pointer: UInt16) -> Middlebox.Outcome {
    var packet = TCPPacket(
      from: server, to: client, sequence: Self.serverStart &+ UInt32(offset), acknowledgement: Self.clientStart,
      flags: [.ack, .urg], window: 60_000, payload: Array(text.utf8))
    packet.setUrgentPointer(pointer)
    return box.receive(packet, at: now)
  }
}

extension TCPPacket {
  mutating func setUrgentPointer(_ pointer: UInt16) {
    var span = bytes.mutableSpan
    HeaderPatch.setTCPUrgentPointer(pointer, in: &span, tcp: 20)
    let old = span.span.uint16(at: 36)
    HeaderPatch.setTCPChecksum(Checksum.update(old, from: 0 as UInt16, to: pointer), in: &span, tcp: 20)
  }
}
