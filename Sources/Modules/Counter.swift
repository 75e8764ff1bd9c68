import Engine

/// Counts what goes by and changes nothing.
public struct Counter: ProcessingModule {
  public static let description = ModuleDescription(
    kind: "counter", access: .read, counters: ["octets", "windows"],
    help: "Counts the octets of the stream, and changes nothing.")

  public init(_ arguments: Arguments) {}

  public mutating func process(_ window: inout Window) {
    window.count(0, by: window.count)
    window.count(1)
    window.releaseAll()
  }
}
