import Engine

/// A module that reads: adds up all octets of the stream, and changes nothing.
public struct Reader: ProcessingModule {
  public static let description = ModuleDescription(
    kind: "reader", access: .read, counters: ["octets"], help: "Adds up the octets of the stream, and changes nothing.")

  private var sum: UInt64 = 0

  public init(_ arguments: Arguments) {}

  public mutating func process(_ window: inout Window) {
    sum = window.sum(of: 0..<window.count, initial: sum & 0xffff_ffff)
    window.count(0, by: window.count)
    window.releaseAll()
  }
}
