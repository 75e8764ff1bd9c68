import Testing

@testable import Engine

/// Where the stream ends: the FIN that comes in its turn, and nothing behind it (RFC 9293 section 3.10.7.4).
@Suite struct StreamEndTests {
  static let editor = ByteEditor(rule: [1: [], 2: [2, 2]])

  @Test(arguments: [[any ProcessingModule]](arrayLiteral: [Reader()], [editor]))
  func dataBehindFinishIsNeverTaken(_ modules: [any ProcessingModule]) throws {
    var conversation = try Exchange(modules)
    _ = conversation.fromClient(0, payload: [5, 2, 6])
    _ = conversation.fromClient(3, flags: [.ack, .fin], payload: [7])
    let octets = try conversation.info().toServer.octetsIn
    _ = conversation.fromClient(5, payload: [8, 8, 8])
    _ = conversation.fromClient(9, payload: [8, 8, 8])
    _ = conversation.fromClient(0, payload: [5, 2, 6, 7, 8, 8, 8, 8, 8])
    _ = conversation.fromClient(0, flags: [.ack, .fin], payload: [5, 2, 6, 7])
    _ = conversation.fromClient(4, flags: [.ack, .fin], payload: [8, 8, 8])
    let seen = try conversation.info().toServer.octetsIn
    #expect(seen == octets)
  }

  @Test(arguments: [[any ProcessingModule]](arrayLiteral: [Reader()], [editor]))
  func earlyFinishWithAnotherNumberDoesNotHideTheRealOne(_ modules: [any ProcessingModule]) throws {
    var conversation = try Exchange(modules)
    _ = conversation.fromClient(500, flags: [.ack, .fin])
    _ = conversation.fromClient(0, payload: [5, 6])
    let outcome = conversation.fromClient(2, flags: [.ack, .fin])
    let finish = try #require(outcome.packet)
    #expect(finish.tcp.flags.contains(.fin))
    #expect(finish.tcp.sequence == Exchange.clientStart &+ 2)
  }

  /// The source's stream goes on, and modules have read on, whatever an old segment says.
  @Test(arguments: [[any ProcessingModule]](arrayLiteral: [Reader()], [editor]))
  func finishInTheMiddleDoesNotLeave(_ modules: [any ProcessingModule]) throws {
    var conversation = try Exchange(modules)
    let part = [UInt8](repeating: 5, count: 50)
    for offset in [0, 50] { #expect(conversation.fromClient(offset, payload: part).packet != nil) }
    // The second dies behind us. The first is sent again, and what was its end is called the end of all.
    let again = conversation.fromClient(0, flags: [.ack, .fin], payload: part)
    #expect(again.packet?.payload.starts(with: part) == true)
    let bare = conversation.fromClient(50, flags: [.ack, .fin])
    _ = conversation.fromServer(0, acknowledging: 50)
    let late = conversation.fromClient(0, flags: [.ack, .fin], payload: part)
    for packet in again.packets + bare.packets + late.packets { #expect(!packet.tcp.flags.contains(.fin)) }
    // The real one leaves, as often as it is sent.
    _ = conversation.fromClient(50, payload: part)
    for _ in 0..<2 {
      let finish = try #require(conversation.fromClient(100, flags: [.ack, .fin], payload: part).packet)
      #expect(finish.tcp.flags.contains(.fin) && Array(finish.payload) == part)
    }
  }

  @Test func moduleAttachedBehindTheEndInsertsNothing() throws {
    struct Appender: ProcessingModule {
      static let description = ModuleDescription(kind: "appender", access: .edit, help: "Adds an end.")
      init(_ arguments: Arguments) {}
      init() {}
      mutating func process(_ window: inout Window) {
        if window.isFinal { window.insert([9, 9], at: window.count) }
        window.releaseAll()
      }
    }
    var conversation = try Exchange([Reader()])
    _ = conversation.fromClient(0, flags: [.ack, .fin], payload: [5])
    try conversation.box.configure([Appender()], at: conversation.now)
    let injected = conversation.box.takeInjections()
    #expect(injected.filter { !$0.payload.isEmpty }.count == 0)
    let seen = try conversation.info().toServer.shift
    #expect(seen == 0)
  }
}
