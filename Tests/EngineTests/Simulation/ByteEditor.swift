@testable import Engine

/// A module whose edits are a pure function of the bytes: every octet is replaced by what the rule says.
///
/// It may hold the last octets back, as one that looks for something does.
struct ByteEditor: ProcessingModule {
  static let description = ModuleDescription(
    kind: "byte-editor", access: .edit, parameters: [Parameter("hold", .integer(0...1_000), default: "0", help: "-")],
    counters: ["octets"], holdTime: .milliseconds(50), help: "Edits octet by octet.")

  /// What the octets that are not kept become.
  var rule: [UInt8: [UInt8]] = [:]
  var hold: Int

  init(_ arguments: Arguments) throws(ArgumentError) {
    hold = arguments.integer("hold")
  }

  init(rule: [UInt8: [UInt8]], hold: Int = 0) {
    self.rule = rule
    self.hold = hold
  }

  mutating func process(_ window: inout Window) {
    var at = 0
    var left = window.mustRelease ? window.count : max(0, window.count - hold)
    while left > 0 {
      if let replacement = rule[window[at]] {
        window.replace(at..<at + 1, with: replacement)
        at += replacement.count
      } else {
        at += 1
      }
      left -= 1
    }
    window.release(upTo: at)
  }

  func edit(_ bytes: [UInt8]) -> [UInt8] { bytes.flatMap { rule[$0] ?? [$0] } }
}

/// A module that reads everything and remembers nothing.
struct Reader: ProcessingModule {
  static let description = ModuleDescription(kind: "reader", access: .read, counters: ["octets"], help: "Reads.")
  init(_ arguments: Arguments) {}
  init() {}
  mutating func process(_ window: inout Window) {
    window.count(0, by: window.count)
    window.releaseAll()
  }
}
