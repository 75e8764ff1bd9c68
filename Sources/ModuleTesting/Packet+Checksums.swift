extension Packet {
  /// What is wrong with its lengths or checksums, as a receiver finds it; nil where nothing is. Of a fragment, and of what is not TCP,
  /// UDP or ICMP, that is the IP header alone.
  public var fault: String? {
    guard let layout = PacketLayout(octets) else { return "its headers make no sense" }
    guard layout.length == octets.count else { return "it has \(octets.count) octets, by its header \(layout.length)" }
    guard layout.isIPv6 || sum(0..<headerEnd) == 0xffff else { return "the checksum of its IP header is wrong" }
    guard let at = layout.checksum else { return nil }
    if layout.protocolNumber == 17, octets.word(at) == 0 {
      return layout.isIPv6 ? "it has no checksum, which UDP must have in IPv6" : nil
    }
    return sum(of: layout) == 0xffff ? nil : "the checksum of its \(layout.transportName) is wrong"
  }

  /// Sets all checksums, as ``fault`` looks at them; nothing where the headers make no sense.
  public mutating func setChecksums() {
    guard let layout = PacketLayout(octets) else { return }
    if !layout.isIPv6 {
      set(10, to: 0)
      set(10, to: ~sum(0..<headerEnd))
    }
    guard let at = layout.checksum else { return }
    set(at, to: 0)
    let checksum = ~sum(of: layout)
    // Zero says that UDP has none (RFC 768).
    set(at, to: layout.protocolNumber == 17 && checksum == 0 ? 0xffff : checksum)
  }

  private var headerEnd: Int { Int(octets[0] & 15) * 4 }

  private mutating func set(_ offset: Int, to number: UInt16) {
    octets.replaceSubrange(offset..<offset + 2, with: Self.octets(number))
  }

  /// The sum that the transport's checksum is over.
  private func sum(of layout: PacketLayout) -> UInt16 {
    let count = layout.end - layout.transport
    guard layout.hasPseudoHeader else { return sum(layout.transport..<layout.end) }
    let addresses = sum(layout.isIPv6 ? 8..<40 : 12..<20)
    return sum(
      layout.transport..<layout.end, initial: UInt64(addresses) + UInt64(layout.protocolNumber) + UInt64(count))
  }

  /// The sum of 16-bit words in ones' complement (RFC 1071).
  private func sum(_ range: Range<Int>, initial: UInt64 = 0) -> UInt16 {
    let span = octets.span
    var sum = initial
    var index = range.lowerBound
    while index + 1 < range.upperBound {
      sum += UInt64(span[index]) << 8 | UInt64(span[index + 1])
      index += 2
    }
    if index < range.upperBound { sum += UInt64(span[index]) << 8 }
    while sum > 0xffff { sum = sum >> 16 + sum & 0xffff }
    return UInt16(sum)
  }
}

extension PacketLayout {
  fileprivate var transportName: String { protocolNumber == 6 ? "TCP" : protocolNumber == 17 ? "UDP" : "ICMP" }
}
