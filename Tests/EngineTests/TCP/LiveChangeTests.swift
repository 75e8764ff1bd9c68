import Testing

@testable import Engine

/// Pipelines that change while octets are on their way.
@Suite struct LiveChangeTests {
  /// A reader that keeps the last octets it has seen, as one that looks for something does.
  struct Watcher: ProcessingModule {
    static let description = ModuleDescription(
      kind: "watcher", access: .read, holdTime: .milliseconds(50), help: "Watches.")
    init(_ arguments: Arguments) {}
    init() {}
    mutating func process(_ window: inout Window) {
      window.release(upTo: window.mustRelease ? window.count : max(0, window.count - 5))
    }
  }

  @Test func editorTakesNothingThatTheDestinationHasAlready() throws {
    var conversation = try Exchange([Watcher()])
    _ = conversation.fromClient(10, payload: [UInt8](repeating: 1, count: 10))
    let passed = conversation.fromClient(0, payload: [UInt8](repeating: 1, count: 10))
    #expect(passed.kind == .accepted)
    _ = conversation.fromServer(0, acknowledging: 20)
    try conversation.box.configure([ByteEditor(rule: [1: []])], at: conversation.now)
    _ = conversation.box.takeInjections()
    _ = conversation.wait(.milliseconds(200))
    let outcome = conversation.fromClient(20, payload: [1, 6])
    #expect(outcome.octets(to: Exchange.server, from: Exchange.clientStart) == [20: 6])
  }
}
