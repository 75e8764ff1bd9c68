import Engine

/// Lets octets go on some time after they have come, as a longer line would: for experiments.
public struct Delay: ProcessingModule {
  public static let description = ModuleDescription(
    kind: "delay", access: .edit,
    parameters: [Parameter("time", .integer(1...10_000), unit: "ms", help: "how much later octets go on")],
    holdTime: .seconds(60), holdLimit: 16 << 20, paces: true,
    help: "Lets octets go on some time after they have come.")

  private var time: Nanoseconds
  /// Octets that have come together, and when they go on.
  private var pieces: [(count: Int, due: Instant)] = []
  /// Octets in all of them.
  private var waiting = 0

  public init(_ arguments: Arguments) { time = .milliseconds(Int64(arguments.integer("time"))) }

  public mutating func process(_ window: inout Window) {
    if window.count > waiting { pieces.append((window.count - waiting, window.now + time)) }
    let due = window.mustRelease ? pieces.count : pieces.prefix { $0.due <= window.now }.count
    let released = pieces[..<due].reduce(0) { $0 + $1.count }
    pieces.removeFirst(due)
    waiting = window.count - released
    window.release(upTo: released)
    if let next = pieces.first { window.wake(after: next.due - window.now) }
  }

  /// What has come before goes on as it would have.
  public mutating func adopt(_ prototype: Self) { time = prototype.time }
}
