import Control
import Engine
import Testing

private struct Other: ProcessingModule {
  static let description = ModuleDescription(kind: "swap", access: .read, help: "Has the kind of another one.")

  init(_ arguments: Arguments) {}
}

private struct Nameless: ProcessingModule {
  static let description = ModuleDescription(kind: "--help", access: .read, help: "Has no name.")

  init(_ arguments: Arguments) {}
}

@Suite("Modules of one's own")
struct ModuleRegistryTests {
  @Test("Two of one kind are refused, both named")
  func clash() throws {
    let found = #expect(throws: ControlError.self) { try ModuleRegistry([Swap.self, Look.self, Other.self]) }
    let error = try #require(found)
    #expect(error.kind == .refused)
    #expect(error.what.hasPrefix("ControlTests.Swap and ControlTests."))
    #expect(error.what.hasSuffix("Other are both of the kind 'swap'"))
  }

  @Test("A kind that is no word is refused")
  func kind() {
    #expect(throws: ControlError.self) { try ModuleRegistry([Nameless.self]) }
  }
}
