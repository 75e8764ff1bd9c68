import Engine

/// Counts what goes by and changes nothing; up to a limit, where one is given.
public struct Counter: ProcessingModule {
  public static let description = ModuleDescription(
    kind: "counter", access: .read,
    parameters: [
      Parameter(
        "limit", .integer(0...Int.max), default: "0", unit: "octets",
        help: "leaves a direction alone once it has counted so many of it; 0 for never")
    ],
    counters: ["octets", "windows"],
    help: "Counts the octets of the stream, and changes nothing.")

  private let limit: Int
  private var counted = 0

  public init(_ arguments: Arguments) { limit = arguments.integer("limit") }

  /// Goes on counting, up to another limit.
  public mutating func adopt(_ prototype: Counter) {
    let counted = counted
    self = prototype
    self.counted = counted
  }

  public mutating func process(_ window: inout Window) {
    window.count(0, by: window.count)
    window.count(1)
    window.releaseAll()
    counted += window.count
    if limit > 0, counted >= limit { window.offload() }
  }
}
