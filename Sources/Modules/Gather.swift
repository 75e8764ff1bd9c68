import Engine

/// Keeps the octets of a stream back until so many have come, and lets them go together.
///
/// It edits nothing, and shows what it takes to wait: a module that must see a whole message before it can decide works like
/// this. Nothing is kept back for longer than a minute, nor behind the end of the stream.
public struct Gather: ProcessingModule {
  static let largest = 8 << 20

  public static let description = ModuleDescription(
    kind: "gather", access: .edit,
    parameters: [
      Parameter("size", .integer(1...largest), default: "1048576", unit: "octets", help: "how many are kept together")
    ],
    counters: ["batches"], holdTime: .seconds(60), holdLimit: largest,
    help: "Keeps octets back until so many have come, and lets them go together.")

  private let size: Int

  public init(_ arguments: Arguments) { size = arguments.integer("size") }

  public mutating func process(_ window: inout Window) {
    guard window.count >= size || window.mustRelease else { return }
    if !window.isEmpty { window.count(0) }
    window.releaseAll()
  }
}
