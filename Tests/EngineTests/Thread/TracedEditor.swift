import Synchronization

@testable import Engine

/// What a module of the property tests has got and made of it, from one place in the pipeline.
final class Trace: Sendable {
  /// Where in the order of the stages a module stands, and between which octets of what comes there it began.
  struct Place: Sendable, Equatable {
    var slot = 0
    var start = 0...0
  }

  struct Record: Sendable {
    var input: [UInt8] = []
    var output: [UInt8] = []
    /// Whether it has had no more interest.
    var isOver = false
  }

  let place: Place
  let record = Mutex(Record())

  init(_ place: Place) { self.place = place }

  /// What the copies of one prototype have written down, in the order in which they came to a connection.
  final class List: Sendable {
    let all = Mutex<[Trace]>([])
    /// Where the module is attached now.
    let place = Mutex(Place())

    func begin() -> Trace {
      let trace = Trace(place.withLock { $0 })
      all.withLock { $0.append(trace) }
      return trace
    }
  }
}

/// A module that writes down what it got and what it made of it.
protocol Traced: ProcessingModule {
  var traces: Trace.List { get }
  var trace: Trace? { get }
}

/// An editor: byte by byte what its rule says, which may change on the way.
struct TracedEditor: Traced {
  static let description = ModuleDescription(
    kind: "traced-editor", access: .edit, holdTime: .milliseconds(50), help: "-")

  /// What `pm set` changes, and what it is attached with.
  struct Wishes: Sendable {
    var rule: [UInt8: [UInt8]] = [:]
    /// Octets that it likes to hold back.
    var hold = 0
    /// Octets behind which it has no more interest.
    var limit = Int.max
    var isOnThread = false
    /// Whether what it gets is of the place where it is attached now. One on a real thread may be at work while it is attached
    /// anew.
    var followsMoves = true
  }

  private(set) var wishes: Wishes
  let traces: Trace.List
  private(set) var trace: Trace?

  init(_ arguments: Arguments) { self.init(Wishes(), Trace.List()) }

  init(_ wishes: Wishes, _ traces: Trace.List) {
    self.wishes = wishes
    self.traces = traces
  }

  mutating func connection(_ change: ConnectionChange) {
    if change == .opened || change == .joined { trace = traces.begin() }
  }

  mutating func adopt(_ prototype: TracedEditor) { wishes = prototype.wishes }

  mutating func process(_ window: inout Window) {
    if wishes.followsMoves, trace?.place != traces.place.withLock({ $0 }) { trace = traces.begin() }
    let count = window.mustRelease ? window.count : max(0, window.count - wishes.hold)
    let input = window.copy(0..<count)
    var at = 0
    var output: [UInt8] = []
    for octet in input {
      if let replacement = wishes.rule[octet] {
        window.replace(at..<at + 1, with: replacement)
        output += replacement
        at += replacement.count
      } else {
        output.append(octet)
        at += 1
      }
    }
    window.release(upTo: at)
    let limit = wishes.limit
    let isOver = trace?.record.withLock {
      $0.input += input
      $0.output += output
      if $0.input.count >= limit { $0.isOver = true }
      return $0.isOver
    }
    if isOver == true { window.offload() }
  }
}

/// As ``TracedEditor``, and only reads.
struct TracedReader: Traced {
  static let description = ModuleDescription(
    kind: "traced-reader", access: .read, holdTime: .milliseconds(50), help: "-")

  private var editor: TracedEditor
  var traces: Trace.List { editor.traces }
  var trace: Trace? { editor.trace }

  init(_ arguments: Arguments) { editor = TracedEditor(arguments) }

  /// - Parameter wishes: without a rule.
  init(_ wishes: TracedEditor.Wishes, _ traces: Trace.List) { editor = TracedEditor(wishes, traces) }

  mutating func process(_ window: inout Window) { editor.process(&window) }
  mutating func connection(_ change: ConnectionChange) { editor.connection(change) }
  mutating func adopt(_ prototype: TracedReader) { editor.adopt(prototype.editor) }
}

/// As ``TracedEditor``, written like a program that reads.
struct TracedReading: Traced {
  static let description = ModuleDescription(
    kind: "traced-reading", access: .edit, needsThread: true, holdTime: .milliseconds(50), help: "-")

  private var editor: TracedEditor
  var traces: Trace.List { editor.traces }
  var trace: Trace? { editor.trace }

  init(_ arguments: Arguments) { editor = TracedEditor(arguments) }
  init(_ wishes: TracedEditor.Wishes, _ traces: Trace.List) { editor = TracedEditor(wishes, traces) }

  mutating func run(_ window: inout Window) { while window.read() { editor.process(&window) } }
  mutating func connection(_ change: ConnectionChange) { editor.connection(change) }
  mutating func adopt(_ prototype: TracedReading) { editor.adopt(prototype.editor) }
}
