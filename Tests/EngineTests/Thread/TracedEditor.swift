import Synchronization

@testable import Engine

/// An editor, or a reader, that writes down what it got and what it made of it: byte by byte what its rule says, which may change
/// on the way.
struct TracedEditor: ProcessingModule {
  static let description = ModuleDescription(
    kind: "traced-editor", access: .edit, holdTime: .milliseconds(50), help: "-")

  /// What one instance, of one connection and direction, has got and made.
  final class Trace: Sendable {
    struct Record: Sendable {
      var input: [UInt8] = []
      var output: [UInt8] = []
    }
    let record = Mutex(Record())
  }

  /// What the copies of one prototype have written down, in the order in which they came to a connection.
  final class Traces: Sendable {
    let list = Mutex<[Trace]>([])
  }

  var rule: [UInt8: [UInt8]]
  /// Octets that it likes to hold back.
  var hold: Int
  let traces: Traces
  private(set) var trace = Trace()

  init(_ arguments: Arguments) {
    self.init(rule: [:], hold: 0)
  }

  init(rule: [UInt8: [UInt8]], hold: Int = 0, traces: Traces = Traces()) {
    self.rule = rule
    self.hold = hold
    self.traces = traces
  }

  mutating func connection(_ change: ConnectionChange) {
    guard change == .opened || change == .joined else { return }
    trace = Trace()
    traces.list.withLock { $0.append(trace) }
  }

  mutating func adopt(_ prototype: TracedEditor) {
    rule = prototype.rule
    hold = prototype.hold
  }

  mutating func process(_ window: inout Window) {
    let count = window.mustRelease ? window.count : max(0, window.count - hold)
    let input = window.copy(0..<count)
    var at = 0
    var output: [UInt8] = []
    for octet in input {
      if let replacement = rule[octet] {
        window.replace(at..<at + 1, with: replacement)
        output += replacement
        at += replacement.count
      } else {
        output.append(octet)
        at += 1
      }
    }
    window.release(upTo: at)
    trace.record.withLock {
      $0.input += input
      $0.output += output
    }
  }
}

/// As ``TracedEditor``, and only reads.
struct TracedReader: ProcessingModule {
  static let description = ModuleDescription(
    kind: "traced-reader", access: .read, holdTime: .milliseconds(50), help: "-")

  var hold: Int
  let traces: TracedEditor.Traces
  private(set) var trace = TracedEditor.Trace()

  init(_ arguments: Arguments) { self.init(hold: 0) }

  init(hold: Int, traces: TracedEditor.Traces = TracedEditor.Traces()) {
    self.hold = hold
    self.traces = traces
  }

  mutating func connection(_ change: ConnectionChange) {
    guard change == .opened || change == .joined else { return }
    trace = TracedEditor.Trace()
    traces.list.withLock { $0.append(trace) }
  }

  mutating func adopt(_ prototype: TracedReader) { hold = prototype.hold }

  mutating func process(_ window: inout Window) {
    let count = window.mustRelease ? window.count : max(0, window.count - hold)
    let octets = window.copy(0..<count)
    window.release(upTo: count)
    trace.record.withLock {
      $0.input += octets
      $0.output += octets
    }
  }
}

/// As ``TracedEditor``, written like a program that reads.
struct TracedReading: ProcessingModule {
  static let description = ModuleDescription(
    kind: "traced-reading", access: .edit, needsThread: true, holdTime: .milliseconds(50), help: "-")

  var editor: TracedEditor

  init(_ arguments: Arguments) { editor = TracedEditor(arguments) }
  init(_ editor: TracedEditor) { self.editor = editor }

  mutating func run(_ window: inout Window) { while window.read() { editor.process(&window) } }
  mutating func connection(_ change: ConnectionChange) { editor.connection(change) }
  mutating func adopt(_ prototype: TracedReading) { editor.adopt(prototype.editor) }
}
