import FlowOS

/// Puts asterisks in the place of a word, and tells who has sent it.
struct Redact: ProcessingModule {
  static let description = ModuleDescription(
    kind: "redact", access: .edit,
    parameters: [Parameter("word", .bytes, help: "what nobody shall read")],
    counters: ["words"], help: "Puts asterisks in the place of a word.")

  private let word: Pattern
  private var words = 0

  init(_ arguments: Arguments) throws(ArgumentError) {
    let word = arguments.bytes("word")
    guard !word.isEmpty else { throw ArgumentError("parameter 'word' is empty; it takes one octet at least") }
    self.word = Pattern(word, ignoringCase: true)
  }

  mutating func process(_ window: inout Window) {
    var finding = window.search(word)
    while case .match(let place) = finding {
      window.replace(place..<place + word.count, with: [UInt8](repeating: UInt8(ascii: "*"), count: word.count))
      window.count(0)
      words += 1
      window.emit("redacted", ["client": "\(window.connection.clientAddress)"])
      finding = window.search(word, from: place + word.count)
    }
    window.release(upTo: window.mustRelease ? window.count : finding.start ?? window.count)
  }

  mutating func connection(_ change: ConnectionChange, _ report: inout Report) {
    if change == .closed || change == .reset { report.emit("over", ["words": "\(words)"]) }
  }
}
