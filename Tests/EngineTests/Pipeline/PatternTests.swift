import ModuleTesting
import Testing

@testable import Engine

@Suite struct PatternTests {
  /// A haystack of few letters, and a needle that is mostly somewhere in it.
  private static func find(_ random: inout SplitMix) -> (haystack: [UInt8], needle: [UInt8]) {
    let alphabet: [UInt8] = Array((random.once(in: 2) ? "<sScC" : "abAB@`kK.").utf8)
    let haystack = (0..<Int.random(in: 1...3_000, using: &random)).map { _ in alphabet.randomElement(using: &random)! }
    let count = Int.random(in: 1...min(haystack.count, 12), using: &random)
    let start = Int.random(in: 0...haystack.count - count, using: &random)
    var needle = Array(haystack[start..<start + count])
    if random.once(in: 3) { needle[count - 1] = UInt8(ascii: "K") }
    return (haystack, needle)
  }

  private static func fold(_ bytes: [UInt8], _ ignoringCase: Bool) -> [UInt8] {
    ignoringCase ? bytes.map(Pattern.lowered) : bytes
  }

  private static func position(of needle: [UInt8], in haystack: [UInt8]) -> Int? {
    guard needle.count <= haystack.count else { return nil }
    return (0...haystack.count - needle.count).first { haystack[$0...].starts(with: needle) }
  }

  @Test func findsTheFirstMatch() {
    for seed in 0..<2_000 as Range<UInt64> {
      var random = SplitMix(seed: seed)
      let (haystack, needle) = Self.find(&random)
      let ignoringCase = random.once(in: 2)
      let expected = Self.position(of: Self.fold(needle, ignoringCase), in: Self.fold(haystack, ignoringCase))
      let found = unsafe haystack.withUnsafeBytes { bytes in
        unsafe Pattern(needle, ignoringCase: ignoringCase).firstMatch(in: bytes)
      }
      #expect(found == expected, "seed \(seed)")
    }
  }

  @Test func findsAnyOfASet() {
    for seed in 0..<1_000 as Range<UInt64> {
      var random = SplitMix(seed: seed)
      let pool = SlabPool(limit: 1 << 24)
      defer { pool.destroy() }
      let haystack = (0..<Int.random(in: 1...80, using: &random)).map { _ in
        UInt8.random(in: UInt8(ascii: "A")...UInt8(ascii: "z"), using: &random)
      }
      let ignoringCase = random.once(in: 2)
      let needles = (0..<Int.random(in: 0...8, using: &random)).map { _ in
        if random.once(in: 4), let octet = haystack.randomElement(using: &random) { return [octet] }
        let start = Int.random(in: haystack.indices, using: &random)
        return Array(haystack[start...].prefix(Int.random(in: 1...9, using: &random))) + (random.once(in: 2) ? [0] : [])
      }
      let set = PatternSet(needles.map { Pattern($0, ignoringCase: ignoringCase) })
      var window = WindowTests.window(haystack, pool, &random)
      let lower = Int.random(in: 0...haystack.count, using: &random)
      let range = lower..<Int.random(in: lower...haystack.count, using: &random)
      let part = Self.fold(Array(haystack[range]), ignoringCase)
      let expected = needles.contains { Self.position(of: Self.fold($0, ignoringCase), in: part) != nil }
      #expect(window.contains(anyOf: set, in: range) == expected, "seed \(seed)")
      var queue = window.takeQueue()
      queue.removeAll(in: pool)
    }
  }
}
