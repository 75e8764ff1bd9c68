import FlowOS

/// Puts the upper-case letters of a stream into lower case, a line at a time.
struct Whisper: ProcessingModule {
  static let description = ModuleDescription(
    kind: "whisper", access: .edit, needsThread: true, counters: ["lines"],
    help: "Puts letters into lower case, a line at a time.")

  init(_ arguments: Arguments) {}

  mutating func run(_ window: inout Window) {
    while window.read() {
      var done = 0
      while let end = window.find("\n", from: done) {
        lower(done..<end + 1, &window)
        window.count(0)
        done = end + 1
      }
      if window.mustRelease { lower(done..<window.count, &window) }
      window.release(upTo: window.mustRelease ? window.count : done)
    }
  }

  private func lower(_ range: Range<Int>, _ window: inout Window) {
    window.replace(range, with: window.copy(range).map { (0x41...0x5A).contains($0) ? $0 + 0x20 : $0 })
  }
}
