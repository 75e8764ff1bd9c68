import Engine

/// Replaces a byte string by another one, wherever it occurs in the stream.
///
/// What comes out is what Python's `bytes.replace` makes of the whole stream: matches are looked for from left to
/// right, they do not overlap, and what was put in is not searched again. How the stream is cut into packets makes no
/// difference. Octets that may be the beginning of a match are held until the next ones tell.
public struct Replace: ProcessingModule {
  /// Octets that `from` may have; what is held is always less than that.
  static let longest = 1_024

  public static let description = ModuleDescription(
    kind: "replace", access: .edit,
    parameters: [
      Parameter("from", .bytes, help: "what to look for: 1 to \(longest) octets"),
      Parameter("to", .bytes, help: "what to put in its place; may be empty"),
      Parameter(
        "hold", .integer(0...60_000), default: "200", unit: "ms",
        help: "how long the beginning of a match may wait for its end"),
    ],
    counters: ["replacements"],
    help: "Replaces one byte string by another one, of any length.")

  private let from: Pattern
  private let to: [UInt8]
  public let holdTime: Nanoseconds

  public init(_ arguments: Arguments) throws(ArgumentError) {
    let from = arguments.bytes("from")
    guard !from.isEmpty else {
      throw ArgumentError("parameter 'from' is empty; it takes the octets to look for, at least one")
    }
    guard from.count <= Self.longest else {
      throw ArgumentError("parameter 'from' has \(from.count) octets; it takes \(Self.longest) at the most")
    }
    self.from = Pattern(from)
    to = arguments.bytes("to")
    holdTime = .milliseconds(Int64(arguments.integer("hold")))
  }

  public mutating func process(_ window: inout Window) {
    var done = 0
    var finding = window.search(from)
    while case .match(let found) = finding {
      window.replace(found..<found + from.count, with: to)
      window.count(0)
      done = found + to.count
      finding = window.search(from, from: done)
    }
    window.release(upTo: window.mustRelease ? window.count : finding.start ?? window.count)
  }
}
