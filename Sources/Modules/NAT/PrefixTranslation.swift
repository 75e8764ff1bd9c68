import Engine

/// IPv6-to-IPv6 network prefix translation (RFC 6296): one prefix for another, and the difference that it makes to checksums taken
/// up by another word of the address, so that nothing else has to be changed and nothing has to be remembered.
struct PrefixTranslation: Sendable {
  enum Outcome { case translated, errorTranslated, untouched, impossible }

  private let inner: Prefix
  private let outer: Prefix
  /// What the inner prefix adds up to less what the outer does, in ones' complement.
  private let adjustment: UInt16

  struct Prefix: Sendable {
    let address: IPAddress
    let length: Int
    /// The bits of the prefix, which has 64 at the most.
    var mask: UInt64 { length == 0 ? 0 : .max << UInt64(64 - length) }

    func contains(_ address: IPAddress) -> Bool { (address.high ^ self.address.high) & mask == 0 }
  }

  init(_ inner: String, to outer: String) throws(ArgumentError) {
    self.inner = try Self.prefix(inner, of: "prefix")
    self.outer = try Self.prefix(outer, of: "to")
    guard self.inner.length == self.outer.length else {
      throw ArgumentError("parameters 'prefix' and 'to' take prefixes of the same length")
    }
    let (from, into) = (Self.sum(self.inner.address.high), Self.sum(self.outer.address.high))
    adjustment = Self.add(from, ~into)
  }

  private static func prefix(_ text: String, of name: String) throws(ArgumentError) -> Prefix {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count == 2, let address = IPAddress(String(parts[0])), !address.isIPv4, let length = Int(parts[1]),
      (1...64).contains(length)
    else { throw ArgumentError("parameter '\(name)' takes an IPv6 prefix of up to 64 bits, not '\(text)'") }
    let prefix = Prefix(address: address, length: length)
    guard address.high & ~prefix.mask == 0, address.low == 0 else {
      throw ArgumentError("parameter '\(name)': '\(text)' has bits behind its prefix")
    }
    guard address.isHost else {
      throw ArgumentError("parameter '\(name)' takes a prefix of hosts, and '\(text)' has none")
    }
    return prefix
  }

  /// Translates the source of what goes outward, the destination of what comes inward; and the other one of a packet that an
  /// ICMPv6 error quotes.
  func translate(_ window: inout Window, _ packet: PacketDescription, isOutward: Bool) -> Outcome {
    let (from, into) = isOutward ? (inner, outer) : (outer, inner)
    let own = isOutward ? packet.source : packet.destination
    guard from.contains(own) else { return .untouched }
    guard let new = map(own, into, isOutward: isOutward) else { return .impossible }
    window.replace(isOutward ? 8..<24 : 24..<40, with: new.octets(isIPv6: true))
    let start = packet.transportOffset + 8
    guard packet.protocolNumber == 58, !packet.isFragment, window.count >= start, window[packet.transportOffset] < 128
    else { return .translated }
    if window.count >= start + 40, window[start] >> 4 == 6 {
      let place = start + (isOutward ? 24 : 8)
      let quoted = IPLayout.address(at: place, true, &window)
      if from.contains(quoted), let new = map(quoted, into, isOutward: isOutward) {
        window.replace(place..<place + 16, with: new.octets(isIPv6: true))
      }
    }
    return .errorTranslated
  }

  /// The address with the other prefix; nil where there is none (RFC 6296 sections 3.2 and 3.5).
  private func map(_ address: IPAddress, _ into: Prefix, isOutward: Bool) -> IPAddress? {
    var words = (0..<8).map { index in
      UInt16(truncatingIfNeeded: (index < 4 ? address.high : address.low) >> UInt64(48 - index % 4 * 16))
    }
    let high = into.address.high | address.high & ~into.mask
    for index in 0..<4 { words[index] = UInt16(truncatingIfNeeded: high >> UInt64(48 - index * 16)) }
    // The subnet takes the difference up where the prefix leaves one, else the first word of the interface that can.
    let place = into.length <= 48 ? 3 : words.indices.dropFirst(4).first { words[$0] != 0xffff }
    guard let place, words[place] != 0xffff else { return nil }
    let sum = Self.add(words[place], isOutward ? adjustment : ~adjustment)
    words[place] = sum == 0xffff ? 0 : sum
    func join(_ part: ArraySlice<UInt16>) -> UInt64 { part.reduce(0) { $0 << 16 | UInt64($1) } }
    return IPAddress(high: join(words[..<4]), low: join(words[4...]))
  }

  private static func sum(_ high: UInt64) -> UInt16 {
    (0..<4).reduce(0) { add($0, UInt16(truncatingIfNeeded: high >> UInt64(48 - $1 * 16))) }
  }

  /// Addition in ones' complement.
  private static func add(_ left: UInt16, _ right: UInt16) -> UInt16 {
    let (sum, carry) = left.addingReportingOverflow(right)
    return carry ? sum &+ 1 : sum
  }
}
