import FlowOS

/// Doubles every `!`.
struct Shout: ProcessingModule {
  static let description = ModuleDescription(kind: "shout", access: .edit, help: "Doubles every '!'.")

  init(_ arguments: Arguments) {}

  mutating func process(_ window: inout Window) {
    var done = 0
    while let found = window.find("!", from: done) {
      window.insert("!", at: found)
      done = found + 2
    }
    window.releaseAll()
  }
}
