/// The ports that a match takes: a range, or those that agree with a value under a mask.
///
/// A mask that leaves a range is stored as that range, so that two texts for the same ports make equal matches.
struct PortSet: Hashable, Sendable {
  private enum Form: Hashable {
    case range(ClosedRange<UInt16>)
    case masked(value: UInt16, mask: UInt16)
  }

  private let form: Form

  init(_ range: ClosedRange<UInt16>) { form = .range(range) }

  init(value: UInt16, mask: UInt16) {
    let free = ~mask
    // The free bits are the lowest ones: what matches is a range.
    form =
      free & (free &+ 1) == 0
      ? .range(value & mask...value & mask | free) : .masked(value: value & mask, mask: mask)
  }

  /// Whether every port is one of them.
  var isEverything: Bool { form == .range(0...UInt16.max) }

  /// `80`, `80-90` or `80/0xfff5`.
  var description: String {
    switch form {
    case .range(let range) where range.count == 1: "\(range.lowerBound)"
    case .range(let range): "\(range.lowerBound)-\(range.upperBound)"
    case .masked(let value, let mask): "\(value)/0x\(String(mask, radix: 16))"
    }
  }

  /// Values and masks that together take just these ports; 30 at the most.
  var prefixes: [(value: UInt16, mask: UInt16)] {
    switch form {
    case .masked(let value, let mask): return [(value, mask)]
    case .range(let range):
      var prefixes: [(UInt16, UInt16)] = []
      var low = Int(range.lowerBound)
      let end = Int(range.upperBound) + 1
      while low < end {
        // The largest aligned block that starts here and does not reach beyond the end.
        var size = low == 0 ? 0x10000 : low & -low
        while low + size > end { size /= 2 }
        prefixes.append((UInt16(low), UInt16(truncatingIfNeeded: ~(size - 1))))
        low += size
      }
      return prefixes
    }
  }
}
