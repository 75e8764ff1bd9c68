import CLinux
import Glibc

/// A byte string to look for with ``Window/search(_:from:)``, prepared once.
public struct Pattern: Sendable, ExpressibleByStringLiteral {
  /// The bytes, in lower case where case is ignored.
  public let bytes: [UInt8]
  /// Whether `A` to `Z` match `a` to `z`.
  public let ignoringCase: Bool
  /// The two bytes that are looked for first, the rarest ones; one and the same where there is a single byte.
  private let anchor, second: Anchor

  /// A byte of the pattern, and how what may stand in its place is compared with it.
  private struct Anchor {
    let place: UInt32
    let byte: UInt8
    /// The bit in which lower and upper case differ, where that does not count; else nothing.
    let caseBit: UInt8
    var index: Int { Int(place) }
  }

  /// - Parameter bytes: at least one.
  public init(_ bytes: [UInt8], ignoringCase: Bool = false) {
    precondition(!bytes.isEmpty, "an empty pattern matches everywhere")
    self.bytes = ignoringCase ? bytes.map(Self.lowered) : bytes
    self.ignoringCase = ignoringCase
    let anchors = self.bytes.enumerated().sorted { Self.rarity($0.element) > Self.rarity($1.element) }.prefix(2).map {
      Anchor(
        place: UInt32($0.offset), byte: $0.element, caseBit: ignoringCase && Self.isLetter($0.element) ? 0x20 : 0)
    }
    anchor = anchors[0]
    second = anchors[anchors.count - 1]
  }

  public init(_ text: String, ignoringCase: Bool = false) {
    self.init(Array(text.utf8), ignoringCase: ignoringCase)
  }

  public init(stringLiteral text: String) { self.init(text) }

  public var count: Int { bytes.count }

  /// How rarely a byte stands in text and markup, roughly: letters as in English, then all that is none. Zeros and blanks are
  /// many where there are any.
  private static func rarity(_ byte: UInt8) -> Int {
    if let rank = commonFirst.firstIndex(of: lowered(byte)) { return rank }
    return commonFirst.count
  }
  private static let commonFirst: [UInt8] = [0x00, 0xFF] + Array(" \netaoinsrhldcumfpgwybvkxjqz".utf8)

  private static func isLetter(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte | 0x20) }

  @inline(__always) static func lowered(_ byte: UInt8) -> UInt8 { byte &- 0x41 < 26 ? byte | 0x20 : byte }

  /// Whether `byte` may stand at `index`.
  @inline(__always) func matches(_ byte: UInt8, at index: Int) -> Bool {
    bytes[index] == (ignoringCase ? Self.lowered(byte) : byte)
  }

  /// Offset of the first match that lies wholly within `haystack`.
  func firstMatch(in haystack: UnsafeRawBufferPointer) -> Int? {
    guard haystack.count >= bytes.count, let base = haystack.baseAddress else { return nil }
    guard anchor.caseBit == 0 else { return unsafe searchBlocks(haystack, from: 0) }
    // The rarest byte is found by the C library's vector code, the rest compared by hand.
    let last = haystack.count - bytes.count
    var at = 0
    var misses = 0
    while at <= last {
      let start = unsafe base + (at + anchor.index)
      guard let next = unsafe memchr(start, Int32(anchor.byte), last - at + 1) else { return nil }
      at += unsafe UnsafeRawPointer(next) - start
      if unsafe isMatch(base + at) { return at }
      at += 1
      misses += 1
      // Where it is frequent, looking for more of the pattern at once is faster.
      if misses * Self.commonDistance > at + Self.trial {
        return ignoringCase ? unsafe searchBlocks(haystack, from: at) : unsafe search(haystack, from: at)
      }
    }
    return nil
  }

  /// Octets between two anchors, and of a trial, from which on ``firstMatch(in:)`` looks for anchors.
  private static var commonDistance: Int { 64 }
  private static var trial: Int { 1_024 }

  /// The first match of a pattern with case at `start` or behind.
  private func search(_ haystack: UnsafeRawBufferPointer, from start: Int) -> Int? {
    guard let base = haystack.baseAddress else { return nil }
    return unsafe bytes.withUnsafeBytes { needle in
      guard let found = unsafe memmem(base + start, haystack.count - start, needle.baseAddress!, needle.count) else {
        return nil
      }
      return unsafe UnsafeRawPointer(found) - base
    }
  }

  /// Octets are compared 32 at a time, in words of eight.
  private typealias Block = SIMD4<UInt64>
  private static var block: Int { 32 }
  private static func each(_ octet: UInt8) -> Block { Block(repeating: UInt64(octet) &* 0x0101_0101_0101_0101) }

  /// The first match at `from` or behind, both anchors looked for at once.
  private func searchBlocks(_ haystack: UnsafeRawBufferPointer, from: Int) -> Int? {
    guard let base = haystack.baseAddress, from <= haystack.count - bytes.count else { return nil }
    let last = haystack.count - bytes.count
    // The last place for a block of candidates, both anchors of all of which lie within.
    let lastBlock = haystack.count - max(anchor.index, second.index) - Self.block
    guard lastBlock >= 0 else {
      for at in from...last where unsafe isMatch(base + at) { return at }
      return nil
    }
    let (wanted, wantedCase) = (Self.each(anchor.byte), Self.each(anchor.caseBit))
    let (other, otherCase) = (Self.each(second.byte), Self.each(second.caseBit))
    let (ones, tops) = (Self.each(0x01), Self.each(0x80))
    let (bases, otherBases) = unsafe (base + anchor.index, base + second.index)
    var at = from
    while at <= last {
      // The last block goes back over candidates that have been refused.
      let start = min(at, lastBlock)
      let first = unsafe (bases + start).loadUnaligned(as: Block.self)
      let next = unsafe (otherBases + start).loadUnaligned(as: Block.self)
      // An octet of zero where both anchors stand.
      let difference = ((first | wantedCase) ^ wanted) | ((next | otherCase) ^ other)
      // The top bit of each of those, and at the most of some behind the first one.
      let found = (difference &- ones) & ~difference & tops
      if found[0] | found[1] | found[2] | found[3] != 0,
        let match = unsafe firstMatch(among: found, of: start, base, from...last)
      {
        return match
      }
      at = start &+ Self.block
    }
    return nil
  }

  /// The first match among the candidates of a block at `start`, the top bits of whose octets are set in `found`.
  private func firstMatch(
    among found: Block, of start: Int, _ base: UnsafeRawPointer, _ range: ClosedRange<Int>
  ) -> Int? {
    for word in 0..<4 {
      var left = found[word]
      while left != 0 {
        let candidate = start + word * 8 + left.trailingZeroBitCount / 8
        if range.contains(candidate), unsafe isMatch(base + candidate) { return candidate }
        left &= left &- 1
      }
    }
    return nil
  }

  @inline(__always) private func isMatch(_ base: UnsafeRawPointer) -> Bool {
    guard unsafe (base + second.index).load(as: UInt8.self) | second.caseBit == second.byte else { return false }
    for index in bytes.indices {
      guard matches(unsafe base.load(fromByteOffset: index, as: UInt8.self), at: index) else { return false }
    }
    return true
  }
}
