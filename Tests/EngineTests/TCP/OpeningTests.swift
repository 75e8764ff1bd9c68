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
    ]
    for (index, stray) in strays.enumerated() {
      let isEdited = try isEdited(stray)
      #expect(isEdited, "after stray \(index)")
    }
  }
}
