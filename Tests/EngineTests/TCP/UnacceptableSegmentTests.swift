import Testing

@testable import Engine

/// Segments that no honest end would send at this moment (RFC 9293 section 3.10.7.4): each gets a verdict, and leaves
/// nothing behind.
@Suite struct UnacceptableSegmentTests {
  static let editor = ByteEditor(rule: [1: [], 2: [2, 2]])

  @Test(arguments: [[any ProcessingModule]](arrayLiteral: [], [Reader()], [editor]))
  func sequenceNumbersAtTheFarSideOfTheCircle(_ modules: [any ProcessingModule]) throws {
    var conversation = try Exchange(modules)
    for distance in [1 << 31, (1 << 31) - 1, (1 << 31) + 1, (1 << 31) - 70_000, -70_000] {
      for flags in [.ack, [.ack, .fin], [.ack, .rst]] as [TCPFlags] {
        _ = conversation.fromClient(distance, flags: flags, payload: [7, 8, 9])
        _ = conversation.fromClient(distance, acknowledging: 1 << 31, flags: flags)
        _ = conversation.fromServer(0, acknowledging: distance)
      }
    }
    let outcome = conversation.fromClient(0, payload: [5, 6])
    #expect(outcome.packet?.payload == [5, 6])
  }

  @Test func dataBeyondTheWindowIsNotKept() throws {
    for modules in [[Reader()], [Self.editor]] as [[any ProcessingModule]] {
      var conversation = try Exchange(modules, window: 1_000)
      let before = conversation.statistics.memoryInUse
      for index in 0..<50 {
        _ = conversation.fromClient(200_000 + index * 700, payload: [UInt8](repeating: 9, count: 600))
      }
      let memory = conversation.statistics.memoryInUse
      #expect(memory == before)
    }
  }

  @Test func dataInOrderBeyondTheWindowIsNotTaken() throws {
    var conversation = try Exchange([Self.editor], window: 1_000)
    var offset = 0
    for _ in 0..<50 {
      _ = conversation.fromClient(offset, payload: [UInt8](repeating: 9, count: 500))
      offset += 500
    }
    // The window, and one segment that began in it.
    let taken = try conversation.info().toServer.octetsIn
    #expect(taken <= 1_500)
  }

  @Test func farSegmentDoesNotKeepAnEditorFromBeingAttached() throws {
    var conversation = try Exchange([Reader()])
    _ = conversation.fromClient(1 << 30, payload: [9])
    try conversation.box.configure([Self.editor], at: conversation.now)
    let outcome = conversation.fromClient(0, payload: [1, 5, 1])
    #expect(outcome.packet?.payload == [5])
  }

  @Test func acknowledgementOfWhatWasNotSentOpensNoWindow() throws {
    var conversation = try Exchange([Self.editor], window: 1_000)
    // Shifted by one, so that windows are mapped.
    _ = conversation.fromClient(0, payload: [1, 5, 6, 7])
    _ = conversation.fromServer(0, acknowledging: 3, window: 1_000)
    _ = conversation.fromServer(0, acknowledging: 1_000_000, window: 60_000)
    let outcome = conversation.fromServer(0, acknowledging: 3, window: 999)
    let window = try #require(outcome.packets.last { $0.tcp.destinationPort == Exchange.client.port }).tcp.window
    #expect(window <= 1_000)
  }

  @Test func acknowledgementOfWhatWaitsForWindowIsNotPassedOn() throws {
    var conversation = try Exchange([ByteEditor(rule: [2: [UInt8](repeating: 2, count: 600)])], window: 1_000)
    let sent = conversation.fromClient(0, payload: [2, 2, 2, 2])
    #expect(sent.octets(to: Exchange.server, from: Exchange.clientStart).count == 1_000)
    let outcome = conversation.fromServer(0, acknowledging: 2_400, window: 1_000)
    for packet in outcome.packets where packet.tcp.destinationPort == Exchange.client.port {
      #expect(packet.tcp.acknowledgement == Exchange.clientStart, "the destination has none of it")
    }
  }

  @Test("15. a timestamp out of nowhere is not repeated") func row15_timestampOutOfNowhereIsNotRepeated() throws {
    func stamp(_ value: UInt32) -> [UInt8] {
      [
        8, 10, UInt8(value >> 24), UInt8(value >> 16 & 255), UInt8(value >> 8 & 255), UInt8(value & 255), 0, 0, 0, 1, 1,
        1,
      ]
    }
    var conversation = try Exchange(
      [ByteEditor(rule: [2: [UInt8](repeating: 2, count: 2_000)])], synOptions: stamp(100))
    // Its numbers are nowhere near the window, so the destination drops it, and does not take its clock either.
    _ = conversation.fromClient(1_000_000_000, options: stamp(2_000_000_000))
    let outcome = conversation.fromClient(0, options: stamp(101), payload: [2])
    #expect(!outcome.injected.isEmpty)
    for packet in outcome.injected { #expect(packet.tcp.options.timestamps?.value == 101) }
  }
}
