/// The answer to a packet that a module refuses: a reset of TCP, else ICMP's "communication administratively prohibited".
///
/// It comes in the name of the packet's destination, as nobody here has an address.
struct Refusal: Sendable {
  /// Octets of the answer.
  let length: Int
  private let isReset: Bool

  /// Decides on the answer to the `packet` that has `headers`; nil where there must be none: to ICMP errors and resets, to what
  /// was sent to many or by nobody in particular, and to all fragments but the first (RFC 1812 section 4.3.2.7, RFC 4443
  /// section 2.4 (e)).
  init?(of packet: Span<UInt8>, _ headers: PacketHeaders) {
    let ip = headers.ip
    guard Self.isOneHost(ip.source, isIPv6: ip.isIPv6), Self.isOneHost(ip.destination, isIPv6: ip.isIPv6),
      !Self.isLaterFragment(packet, ip)
    else { return nil }
    let ipLength = ip.isIPv6 ? 40 : 20
    switch headers.transport {
    case .tcp(let tcp):
      guard !tcp.flags.contains(.rst) else { return nil }
      isReset = true
      length = ipLength + 20
      return
    case .icmp(let icmp):
      // Only questions may be answered; what is not known may be an error.
      let questions: [UInt8] = ip.isIPv6 ? [128] : [8, 13, 15, 17]
      guard questions.contains(icmp.type) else { return nil }
    case .udp, .fragment, .other: break
    }
    isReset = false
    length = ipLength + 8 + min(ip.totalLength, (ip.isIPv6 ? 1_280 : 576) - ipLength - 8)
  }

  /// Writes the answer to `packet`.
  func write(
    quoting packet: Span<UInt8>, _ headers: PacketHeaders, identification: UInt16, into bytes: inout MutableSpan<UInt8>
  ) {
    var ip = headers.ip
    swap(&ip.source, &ip.destination)
    ip.trafficClass = 0
    ip.flowLabel = 0
    ip.hopLimit = 64
    ip.dontFragment = false
    let start = ip.isIPv6 ? 40 : 20
    ip.protocolNumber = isReset ? ProtocolNumber.tcp : ip.isIPv6 ? ProtocolNumber.icmpv6 : ProtocolNumber.icmp
    if isReset, case .tcp(let tcp) = headers.transport {
      writeReset(of: tcp, octets: headers.payloadLength, into: &bytes, at: start)
    } else {
      // Destination unreachable: code 13 of ICMP (RFC 1812 section 5.2.7.1), 1 of ICMPv6 (RFC 4443 section 3.1).
      bytes[start] = ip.isIPv6 ? 1 : 3
      bytes[start + 1] = ip.isIPv6 ? 1 : 13
      for index in start + 2..<start + 8 { bytes[index] = 0 }
      for index in start + 8..<length { bytes[index] = packet[index - start - 8] }
    }
    HeaderWriter.writeIP(from: ip, payloadLength: length - start, identification: identification, into: &bytes)
    guard case .packet(let written) = PacketHeaders.parse(bytes.span) else {
      preconditionFailure("what is written here is a packet")
    }
    HeaderPatch.setChecksums(of: written, in: &bytes)
  }

  /// The numbers are those that the source of the segment takes (RFC 9293 section 3.10.7.1).
  private func writeReset(of tcp: TCPHeader, octets: Int, into bytes: inout MutableSpan<UInt8>, at start: Int) {
    let isAcknowledging = tcp.flags.contains(.ack)
    let length = octets + (tcp.flags.contains(.syn) ? 1 : 0) + (tcp.flags.contains(.fin) ? 1 : 0)
    HeaderWriter.writeTCP(
      sourcePort: tcp.destinationPort, destinationPort: tcp.sourcePort,
      sequence: isAcknowledging ? tcp.acknowledgement : 0,
      acknowledgement: isAcknowledging ? 0 : tcp.sequence &+ UInt32(length),
      flags: isAcknowledging ? .rst : [.rst, .ack],
      window: 0, into: &bytes, at: start)
  }

  private static func isOneHost(_ address: IPAddress, isIPv6: Bool) -> Bool {
    guard !isIPv6 else { return address.high >> 56 != 0xff && (address.high != 0 || address.low > 1) }
    let octets = UInt32(truncatingIfNeeded: address.low)
    // Not this network, loopback, multicast, class E and the limited broadcast.
    return octets >> 24 != 0 && octets >> 24 != 127 && octets >> 28 < 0xe
  }

  private static func isLaterFragment(_ packet: Span<UInt8>, _ ip: IPHeader) -> Bool {
    guard ip.isFragment else { return false }
    // Where a fragment header ends the chain it stands right in front of the part.
    return ip.isIPv6
      ? packet.uint16(at: ip.headerLength - 6) & 0xfff8 != 0 : packet.uint16(at: 6) & 0x1fff != 0
  }
}
