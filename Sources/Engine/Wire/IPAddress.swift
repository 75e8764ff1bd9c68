/// An IPv4 or IPv6 address in 128 bits; IPv4 as an IPv4-mapped IPv6 address, `::ffff:a.b.c.d` (RFC 4291 section
/// 2.5.5.2).
public struct IPAddress: Hashable, Sendable, CustomStringConvertible {
  /// The first 64 bits, in host order.
  public let high: UInt64
  /// The last 64 bits, in host order.
  public let low: UInt64

  public init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// An IPv4 address; the first octet is the most significant.
  public init(v4 address: UInt32) {
    self.init(high: 0, low: 0xffff_0000_0000 | UInt64(address))
  }

  /// Whether this is an IPv4 address, or an IPv6 one that stands for it.
  public var isIPv4: Bool { high == 0 && low >> 32 == 0xffff }

  /// The address in dotted decimals (IPv4), or as RFC 5952 has it (IPv6).
  public var description: String {
    isIPv4 ? Self.dotted(UInt32(truncatingIfNeeded: low)) : Self.grouped(high: high, low: low)
  }

  /// The address as RFC 5952 has it, also where it stands for an IPv4 one.
  var ipv6Description: String { Self.grouped(high: high, low: low) }

  private static func dotted(_ address: UInt32) -> String {
    "\(address >> 24).\(address >> 16 & 0xff).\(address >> 8 & 0xff).\(address & 0xff)"
  }

  /// Lower case, no leading zeros, the first of the longest runs of two or more zero groups as `::`.
  private static func grouped(high: UInt64, low: UInt64) -> String {
    let groups = (0..<8).map { index in
      UInt16(truncatingIfNeeded: (index < 4 ? high : low) >> UInt64(48 - index % 4 * 16))
    }
    var longest = 0..<0
    var start = 0
    while start < 8 {
      var end = start
      while end < 8, groups[end] == 0 { end += 1 }
      if end - start > longest.count { longest = start..<end }
      start = end + 1
    }
    let text = { (range: Range<Int>) in range.map { String(groups[$0], radix: 16) }.joined(separator: ":") }
    guard longest.count >= 2 else { return text(0..<8) }
    return text(0..<longest.lowerBound) + "::" + text(longest.upperBound..<8)
  }
}

extension IPAddress {
  /// Reads an address of either family: four decimals, or the forms of RFC 4291 section 2.2, without a zone.
  public init?(_ text: String) {
    let octets = Array(text.utf8)
    if octets.contains(UInt8(ascii: ":")) {
      guard let words = Self.words(octets[...]) else { return nil }
      self.init(high: words.high, low: words.low)
    } else {
      guard let address = Self.decimals(octets[...]) else { return nil }
      self.init(v4: address)
    }
  }

  /// `a.b.c.d`, each without a leading zero: some read `010` as octal, so nobody should write it.
  private static func decimals(_ text: ArraySlice<UInt8>) -> UInt32? {
    let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard parts.count == 4 else { return nil }
    var address: UInt32 = 0
    for part in parts {
      guard (1...3).contains(part.count), part.count == 1 || part.first != UInt8(ascii: "0") else { return nil }
      var value: UInt32 = 0
      for digit in part {
        guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else { return nil }
        value = value * 10 + UInt32(digit - UInt8(ascii: "0"))
      }
      guard value <= 255 else { return nil }
      address = address << 8 | value
    }
    return address
  }

  private static func words(_ text: ArraySlice<UInt8>) -> (high: UInt64, low: UInt64)? {
    let colon = UInt8(ascii: ":")
    var groups: [UInt16] = []
    var gap: Int?
    var rest = text
    if rest.starts(with: [colon, colon]) {
      gap = 0
      rest = rest.dropFirst(2)
    }
    while !rest.isEmpty {
      let group = rest.prefix { $0 != colon }
      rest = rest.dropFirst(group.count)
      if rest.isEmpty, group.contains(UInt8(ascii: ".")) {
        guard let address = decimals(group) else { return nil }
        groups += [UInt16(address >> 16), UInt16(truncatingIfNeeded: address)]
        break
      }
      guard let value = hexadecimal(group) else { return nil }
      groups.append(value)
      guard !rest.isEmpty else { break }
      rest = rest.dropFirst()
      if rest.first == colon {
        guard gap == nil else { return nil }
        gap = groups.count
        rest = rest.dropFirst()
      } else if rest.isEmpty {
        return nil
      }
    }
    if let gap {
      guard groups.count < 8 else { return nil }
      groups.insert(contentsOf: repeatElement(0, count: 8 - groups.count), at: gap)
    }
    guard groups.count == 8 else { return nil }
    let join = { (part: ArraySlice<UInt16>) in part.reduce(UInt64(0)) { $0 << 16 | UInt64($1) } }
    return (join(groups[..<4]), join(groups[4...]))
  }

  private static func hexadecimal(_ text: ArraySlice<UInt8>) -> UInt16? {
    guard (1...4).contains(text.count) else { return nil }
    var value: UInt16 = 0
    for octet in text {
      let digit: UInt8
      switch octet {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = octet - UInt8(ascii: "0")
      case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = octet - UInt8(ascii: "a") + 10
      case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = octet - UInt8(ascii: "A") + 10
      default: return nil
      }
      value = value << 4 | UInt16(digit)
    }
    return value
  }
}

extension IPAddress {
  /// Whether it names somebody on one link only (RFC 3927, RFC 4291 section 2.5.6), or nobody yet.
  var isOfLink: Bool {
    guard isIPv4 else { return high >> 54 == 0x3fa || (high == 0 && low == 0) }
    let word = UInt32(truncatingIfNeeded: low)
    return word >> 16 == 0xa9fe || word == 0
  }

  /// Whether it names several: multicast (RFC 1112, RFC 4291 section 2.7), or all on a link.
  var isMulticast: Bool {
    guard isIPv4 else { return high >> 56 == 0xff }
    let word = UInt32(truncatingIfNeeded: low)
    return word >> 28 == 0xe || word == .max
  }

  /// Whether it may be one host's: not this network or nobody (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.2), not multicast, not
  /// all on a link.
  public var isHost: Bool {
    guard isIPv4 else { return !isMulticast && (high != 0 || low != 0) }
    return !isMulticast && UInt32(truncatingIfNeeded: low) >> 24 != 0
  }
}
