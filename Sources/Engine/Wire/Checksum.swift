/// The Internet checksum (RFC 1071).
///
/// A *sum* is a wide integer congruent, modulo 65535, to the sum of the big-endian 16-bit words that it covers: sums
/// add up with `+`, numbers of a header (a port, a length) can be added as they are, and ``fold(_:)`` makes the
/// checksum of it. Sums of this module's functions stay below 2^17, so billions of them fit.
public enum Checksum {
  /// The sum of `bytes`, an odd last one padded with a zero.
  ///
  /// `bytes` starts at an even offset of what is summed; see ``combine(_:_:at:)`` for one that does not.
  public static func sum(_ bytes: Span<UInt8>, initial: UInt64 = 0) -> UInt64 {
    let count = bytes.count
    // The words are added in host order, as the order does not matter until the end (RFC 1071 section 2 (B)), and 32
    // bits at a time in 64, so that carries gather in the upper halves.
    var lanes = SIMD4<UInt64>()
    var offset = 0
    while offset &+ 64 <= count {
      let (first, second) = (bytes.hostWords(at: offset), bytes.hostWords(at: offset &+ 32))
      lanes &+= (first & 0xffff_ffff) &+ (first &>> 32)
      lanes &+= (second & 0xffff_ffff) &+ (second &>> 32)
      offset &+= 64
    }
    var sum = lanes.wrappedSum()
    while offset &+ 8 <= count {
      addWithCarry(&sum, bytes.hostUInt64(at: offset))
      offset &+= 8
    }
    var rest: UInt64 = 0
    var shift: UInt64 = 0
    while offset < count {
      rest |= UInt64(bytes[offset]) &<< shift
      shift &+= 8
      offset &+= 1
    }
    addWithCarry(&sum, UInt64(littleEndian: rest))
    return initial &+ UInt64(UInt16(bigEndian: narrow(sum)))
  }

  /// `sum` and a piece's own sum together, the piece starting `offset` octets after the start of what is summed.
  ///
  /// A piece at an odd offset has the upper and lower halves of its words exchanged (RFC 1071 section 2 (B)).
  static func combine(_ sum: UInt64, _ piece: UInt64, at offset: Int) -> UInt64 {
    sum &+ UInt64(offset & 1 == 0 ? narrow(piece) : narrow(piece).byteSwapped)
  }

  /// The checksum to store where the field was zero in `sum`. Over bytes whose checksum is right, it is 0.
  public static func fold(_ sum: UInt64) -> UInt16 { ~narrow(sum) }

  /// The sum of the pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1).
  ///
  /// - Parameter length: Octets of transport header and payload.
  public static func pseudoHeader(
    source: IPAddress, destination: IPAddress, protocolNumber: UInt8, length: Int, isIPv6: Bool
  ) -> UInt64 {
    var sum = UInt64(protocolNumber) &+ UInt64(length)
    if isIPv6 {
      sum &+= words(source.high) &+ words(source.low) &+ words(destination.high) &+ words(destination.low)
    } else {
      sum &+= words(source.low & 0xffff_ffff) &+ words(destination.low & 0xffff_ffff)
    }
    return sum
  }

  /// The checksum after one aligned word under it changed (RFC 1624, equation 3).
  public static func update(_ checksum: UInt16, from old: UInt16, to new: UInt16) -> UInt16 {
    fold(UInt64(~checksum) &+ UInt64(~old) &+ UInt64(new))
  }

  /// The checksum after two adjacent, aligned words under it changed.
  static func update(_ checksum: UInt16, from old: UInt32, to new: UInt32) -> UInt16 {
    fold(UInt64(~checksum) &+ words(UInt64(~old)) &+ words(UInt64(new)))
  }

  /// Whether the transport checksum of the packet is right: that of TCP, UDP and ICMP; true for everything else, and
  /// for UDP over IPv4 that goes without (a checksum of zero).
  static func verifyTransport(packet: Span<UInt8>, headers: PacketHeaders) -> Bool {
    let ip = headers.ip
    var end = ip.totalLength
    var sum: UInt64 = 0
    switch headers.transport {
    case .fragment, .other: return true
    case .icmp where !ip.isIPv6: break
    case .udp(let udp):
      if packet.uint16(at: ip.headerLength + 6) == 0 { return !ip.isIPv6 }
      end = ip.headerLength + Int(udp.length)
      fallthrough
    case .tcp, .icmp:
      sum = pseudoHeader(
        source: ip.source, destination: ip.destination, protocolNumber: ip.protocolNumber,
        length: end - ip.headerLength, isIPv6: ip.isIPv6)
    }
    return fold(Self.sum(packet.extracting(ip.headerLength..<end), initial: sum)) == 0
  }

  /// Whether the checksum of an IPv4 header is right; true for IPv6, which has none.
  static func verifyHeader(packet: Span<UInt8>, headers: PacketHeaders) -> Bool {
    headers.ip.isIPv6 || fold(sum(packet.extracting(..<headers.ip.headerLength))) == 0
  }

  @inline(__always) private static func addWithCarry(_ sum: inout UInt64, _ word: UInt64) {
    let (partial, carry) = sum.addingReportingOverflow(word)
    sum = partial &+ (carry ? 1 : 0)
  }

  /// The four 16-bit words of a 64-bit one, added.
  @inline(__always) private static func words(_ word: UInt64) -> UInt64 {
    word >> 48 &+ word >> 32 & 0xffff &+ word >> 16 & 0xffff &+ word & 0xffff
  }

  /// The sum in 16 bits; 0 only where it is 0.
  @inline(__always) private static func narrow(_ sum: UInt64) -> UInt16 {
    var sum = words(sum)
    sum = sum >> 16 &+ sum & 0xffff
    return UInt16(truncatingIfNeeded: sum >> 16 &+ sum)
  }
}
