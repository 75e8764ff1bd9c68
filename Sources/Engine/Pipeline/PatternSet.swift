/// Byte strings to look for all at once with ``Window/contains(anyOf:in:)``, prepared once: what begins none of them is looked at
/// once, however many there are.
public struct PatternSet: Sendable {
  private let prepared: Prepared

  /// One object, so that a set takes no more room in a module than its reference.
  private final class Prepared: Sendable {
    /// In the order of their first bytes.
    let patterns: [Pattern]
    /// Where the patterns begin that start with a byte, by the byte; one more for the end.
    let runs: [Int]
    /// Whether a pattern may start with two bytes, in lower case: a bit for each pair.
    let filter: [UInt64]

    init(_ patterns: [Pattern]) {
      self.patterns = patterns.sorted { $0.bytes[0] < $1.bytes[0] }
      runs = (0...256).map { [patterns = self.patterns] byte in
        patterns.firstIndex { Int($0.bytes[0]) >= byte } ?? patterns.count
      }
      var filter = [UInt64](repeating: 0, count: 1_024)
      for pattern in patterns {
        let first = Pattern.lowered(pattern.bytes[0])
        let seconds = pattern.count > 1 ? [Pattern.lowered(pattern.bytes[1])] : Array(0...255)
        for second in seconds {
          let pair = PatternSet.pair(first, second)
          filter[pair >> 6] |= 1 << UInt64(pair & 63)
        }
      }
      self.filter = filter
    }
  }

  public init(_ patterns: [Pattern]) { prepared = Prepared(patterns) }

  @inline(__always) private static func pair(_ first: UInt8, _ second: UInt8) -> Int { Int(first) << 8 | Int(second) }

  /// The first offset of `haystack`, from `start` on, at which one of them may begin: always its last, behind which lies what is
  /// not in it.
  func candidate(in haystack: UnsafeRawBufferPointer, from start: Int) -> Int? {
    guard start < haystack.count else { return nil }
    return unsafe prepared.filter.withUnsafeBufferPointer { filter in
      var first = unsafe Pattern.lowered(haystack[start])
      for offset in start..<haystack.count - 1 {
        let second = unsafe Pattern.lowered(haystack[offset + 1])
        let pair = Self.pair(first, second)
        if unsafe filter[pair >> 6] >> UInt64(pair & 63) & 1 != 0 { return offset }
        first = second
      }
      return haystack.count - 1
    }
  }

  /// Calls `body` with the patterns that may begin with `byte`, until it answers true; says whether it has.
  func contains(startingWith byte: UInt8, where body: (Pattern) -> Bool) -> Bool {
    let lowered = Pattern.lowered(byte)
    if lowered != byte, contains(exactly: byte, where: body) { return true }
    return contains(exactly: lowered, where: body)
  }

  private func contains(exactly byte: UInt8, where body: (Pattern) -> Bool) -> Bool {
    let run = prepared.runs[Int(byte)]..<prepared.runs[Int(byte) + 1]
    return prepared.patterns[run].contains(where: body)
  }
}
