import Engine
import ModuleTesting
import Testing

@testable import Modules

struct ReplaceTests {
  /// What Python's `bytes.replace` does.
  static func reference(_ bytes: [UInt8], _ from: [UInt8], _ to: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    var at = 0
    while let found = bytes.offset(of: from, from: at) {
      result += bytes[at..<found] + to
      at = found + from.count
    }
    return result + bytes[at...]
  }

  static func escaped(_ bytes: [UInt8]) -> String {
    bytes.map { "\\x" + ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  @Test(arguments: [
    ("aaaa", "aa", "a", "aa"),
    ("aaa", "aa", "b", "ba"),
    ("abcabc", "abc", "", ""),
    ("foo", "o", "oo", "foooo"),
    ("aabaab", "aab", "x", "xx"),
    ("no match", "zzz", "y", "no match"),
    ("\u{0}\u{1}", "\u{0}", "\u{1}\u{1}", "\u{1}\u{1}\u{1}"),
  ])
  func replacesLikePython(stream: String, from: String, to: String, expected: String) throws {
    for size in 1...stream.utf8.count {
      let bench = try Bench(Replace.self, ["from": Self.escaped(Array(from.utf8)), "to": to])
      for start in stride(from: 0, to: stream.utf8.count, by: size) {
        bench.feed(Array(stream.utf8)[start..<min(start + size, stream.utf8.count)])
      }
      bench.feed([], isEnded: true)
      #expect(bench.output.text == expected, "in pieces of \(size)")
    }
  }

  @Test func equalsTheReferenceHoweverTheStreamIsCut() throws {
    for seed in 0..<2_000 {
      var random = SplitMix(seed: seed)
      let alphabet: [UInt8] = Array("ab\0".utf8).dropLast(seed % 2).map { $0 }
      func word(_ counts: ClosedRange<Int>) -> [UInt8] {
        (0..<Int.random(in: counts, using: &random)).compactMap { _ in alphabet.randomElement(using: &random) }
      }
      let from = word(1...(seed % 5 == 0 ? 40 : 6))
      let to = word(0...8)
      var stream = word(0...400)
      for _ in 0..<Int.random(in: 0...20, using: &random) {
        // Whole ones, and ones that are cut short.
        let near = Bool.random(using: &random) ? from[...] : from.prefix(Int.random(in: 0...from.count, using: &random))
        stream.insert(contentsOf: near, at: Int.random(in: 0...stream.count, using: &random))
      }
      let bench = try Bench(Replace.self, ["from": Self.escaped(from), "to": Self.escaped(to)])
      bench.feed(stream, cutBy: &random)
      guard bench.output == Self.reference(stream, from, to) else {
        Issue.record("seed \(seed): \(stream) \(from) -> \(to): \(bench.output)")
        return
      }
    }
  }

  @Test func insertsMoreThanASlabHolds() throws {
    let to = String(repeating: "0123456789", count: 20_000)
    let bench = try Bench(Replace.self, ["from": "x", "to": to])
    bench.feed(Array("axbx".utf8), isEnded: true)
    #expect(bench.output.text == "a\(to)b\(to)")
    #expect(bench.count("replacements") == 2)
  }

  @Test func holdsOnlyWhatMayBecomeAMatch() throws {
    let bench = try Bench(Replace.self, ["from": "needle", "to": "pin"])
    bench.feed(Array("hay need".utf8))
    #expect(bench.output.text == "hay ")
    bench.feed(Array("s needle".utf8))
    #expect(bench.output.text == "hay needs pin")
  }

  @Test func releasesWhatIsHeldTooLong() throws {
    let bench = try Bench(Replace.self, ["from": "needle", "to": "pin"])
    bench.feed(Array("hay need".utf8))
    bench.expire()
    #expect(bench.output.text == "hay need")
    bench.feed(Array("le needle".utf8))
    #expect(bench.output.text == "hay needle pin")
  }

  @Test func takesNewParametersInTheMiddle() throws {
    let bench = try Bench(Replace.self, ["from": "one", "to": "1"])
    bench.feed(Array("one two on".utf8))
    try bench.set(["from": "two", "to": "2"])
    bench.feed(Array("e two".utf8), isEnded: true)
    #expect(bench.output.text == "1 two one 2")
  }

  @Test(arguments: [
    ("", "parameter 'from' is empty; it takes the octets to look for, at least one"),
    (String(repeating: "a", count: 1_025), "parameter 'from' has 1025 octets; it takes 1024 at the most"),
  ])
  func refuses(from: String, message: String) throws {
    let arguments = try Arguments([("from", from), ("to", "")], for: Replace.description.parameters)
    #expect(throws: ArgumentError(message)) { try Replace(arguments) }
  }
}
