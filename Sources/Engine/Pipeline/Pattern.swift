import CLinux
import Glibc

/// A byte string to look for with ``Window/search(_:from:)``, prepared once.
public struct Pattern: Sendable, ExpressibleByStringLiteral {
  /// The bytes, in lower case where case is ignored.
  public let bytes: [UInt8]
  /// Whether `A` to `Z` match `a` to `z`.
  public let ignoringCase: Bool
  /// Position of the byte that is looked for first, the rarest.
  private let anchor: Int

  /// - Parameter bytes: at least one.
  public init(_ bytes: [UInt8], ignoringCase: Bool = false) {
    precondition(!bytes.isEmpty, "an empty pattern matches everywhere")
    self.bytes = ignoringCase ? bytes.map(Self.lowered) : bytes
    self.ignoringCase = ignoringCase
    let rarities = self.bytes.map(Self.rarity)
    self.anchor = rarities.firstIndex(of: rarities.max()!)!
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
    // The anchor is found by the C library's vector code, the rest compared by hand.
    let wanted = bytes[anchor]
    let other = ignoringCase && Self.isLetter(wanted) ? wanted & ~0x20 : wanted
    var at = anchor
    let last = haystack.count - (bytes.count - anchor)
    var misses = 0
    while at <= last {
      guard let next = unsafe nearest(wanted, other, base + at, last - at + 1) else { return nil }
      at += next
      if unsafe isMatch(base + (at - anchor)) { return at - anchor }
      at += 1
      misses += 1
      // Where the anchor is frequent, looking for all of it is faster.
      if !ignoringCase, misses * Self.commonDistance > at + Self.trial {
        let start = at - anchor
        return unsafe search(UnsafeRawBufferPointer(rebasing: haystack[start...])).map { start + $0 }
      }
    }
    return nil
  }

  /// Octets between two anchors, and of a trial, from which on ``firstMatch(in:)`` looks for anchors.
  private static var commonDistance: Int { 64 }
  private static var trial: Int { 1_024 }

  /// The first match of a pattern with case.
  private func search(_ haystack: UnsafeRawBufferPointer) -> Int? {
    guard let base = haystack.baseAddress else { return nil }
    return unsafe bytes.withUnsafeBytes { needle in
      guard let found = unsafe memmem(base, haystack.count, needle.baseAddress!, needle.count) else { return nil }
      return unsafe UnsafeRawPointer(found) - base
    }
  }

  private func nearest(_ one: UInt8, _ other: UInt8, _ base: UnsafeRawPointer, _ count: Int) -> Int? {
    var found = unsafe memchr(base, Int32(one), count).map { unsafe UnsafeRawPointer($0) - base }
    if other != one {
      if let second = unsafe memchr(base, Int32(other), found ?? count) {
        found = unsafe UnsafeRawPointer(second) - base
      }
    }
    return found
  }

  private func isMatch(_ base: UnsafeRawPointer) -> Bool {
    for index in bytes.indices {
      guard matches(unsafe base.load(fromByteOffset: index, as: UInt8.self), at: index) else { return false }
    }
    return true
  }
}
