import SystemPackage

/// How often each error occurred. Counting does not allocate.
public struct ErrnoTally: Sendable {
  /// By error number; everything outside Linux's range is counted as number 0.
  private var counts = [UInt64](repeating: 0, count: 134)

  public init() {}

  mutating func count(_ error: Errno, times: Int = 1) {
    let number = Int(error.rawValue)
    counts[counts.indices.contains(number) ? number : 0] &+= UInt64(times)
  }

  /// Adds what another tally counted.
  public mutating func add(_ other: ErrnoTally) {
    for number in counts.indices { counts[number] &+= other.counts[number] }
  }

  /// How often `error` occurred.
  public subscript(error: Errno) -> UInt64 {
    let number = Int(error.rawValue)
    return counts.indices.contains(number) ? counts[number] : 0
  }

  /// All errors together.
  public var total: UInt64 { counts.reduce(0, &+) }
}
