import Control
import Engine
import Testing

/// A controller over a fake data plane, spoken to in the words of a command file.
struct Scene {
  let dataPlane = FakeDataPlane()
  let controller: Controller

  init(_ commands: String..., registry: ModuleRegistry = .test) throws {
    controller = Controller(registry: registry, dataPlane: dataPlane, version: "1.2.3")
    if !commands.isEmpty { try run(commands.joined(separator: "\n")) }
  }

  @discardableResult
  func run(_ text: String) throws(ControlError) -> Transaction.Reply {
    try controller.apply(CommandFile(parsing: text, name: "setup"))
  }

  /// The error of `text`, which must not have changed anything.
  func refusal(of text: String, sourceLocation: SourceLocation = #_sourceLocation) -> ControlError? {
    let before = (dump, dataPlane.changes)
    let error = #expect(throws: ControlError.self, sourceLocation: sourceLocation) { try run(text) }
    #expect((dump, dataPlane.changes) == before, "a refused change left a trace", sourceLocation: sourceLocation)
    return error
  }

  var dump: String { Dump().perform(on: controller).commands }
}
