/// A UDP header (RFC 768).
struct UDPHeader: Sendable {
  var sourcePort: UInt16
  var destinationPort: UInt16
  /// Octets of header and payload.
  var length: UInt16
}

/// The start of an ICMP (RFC 792) or ICMPv6 (RFC 4443) message.
struct ICMPHeader: Sendable {
  var type: UInt8
  var code: UInt8
}

/// What the IP packet carries.
enum Transport: Sendable {
  case tcp(TCPHeader)
  case udp(UDPHeader)
  /// ICMP in IPv4, ICMPv6 in IPv6.
  case icmp(ICMPHeader)
  /// A part of something, the first one too: its payload is not whole.
  case fragment
  /// A protocol that is not looked into, AH and ESP among them, or one behind a routing header with places yet to go.
  case other(UInt8)
}

/// What became of an attempt to read a packet's headers.
enum ParseResult {
  case packet(PacketHeaders)
  case malformed(Malformation)
}

/// The headers of a packet, read once into plain values.
struct PacketHeaders: Sendable {
  var ip: IPHeader
  var transport: Transport
  /// Where the payload of the transport starts, in octets from the start of the packet. That of ICMP follows the eight
  /// octets that its messages share; that of a fragment and of other protocols follows the IP header.
  var payloadOffset: Int
  /// Octets of it; `payloadOffset + payloadLength` never exceeds the IP length.
  var payloadLength: Int
}

extension PacketHeaders {
  /// Reads the headers of the IP packet in `packet`, which may be followed by padding. Takes any bytes; allocates nothing.
  static func parse(_ packet: Span<UInt8>) -> ParseResult {
    let ip: IPHeader
    switch IPHeader.parse(packet) {
    case .header(let header): ip = header
    case .malformed(let malformation): return .malformed(malformation)
    }
    let start = ip.headerLength
    let end = ip.totalLength
    if ip.isFragment { return .packet(PacketHeaders(ip: ip, transport: .fragment, payload: start..<end)) }
    switch ip.protocolNumber {
    case _ where ip.isSourceRouted: break
    case ProtocolNumber.tcp:
      switch TCPHeader.parse(packet, at: start, end: end) {
      case .header(let tcp):
        return .packet(PacketHeaders(ip: ip, transport: .tcp(tcp), payload: start + tcp.headerLength..<end))
      case .malformed(let malformation): return .malformed(malformation)
      }
    case ProtocolNumber.udp:
      guard start + 8 <= end else { return .malformed(.truncatedTransport) }
      let udp = UDPHeader(
        sourcePort: packet.uint16(at: start), destinationPort: packet.uint16(at: start + 2),
        length: packet.uint16(at: start + 4))
      guard udp.length >= 8, start + Int(udp.length) <= end else { return .malformed(.badUDPLength) }
      return .packet(PacketHeaders(ip: ip, transport: .udp(udp), payload: start + 8..<start + Int(udp.length)))
    case ip.isIPv6 ? ProtocolNumber.icmpv6 : ProtocolNumber.icmp:
      guard start + 8 <= end else { return .malformed(.truncatedTransport) }
      let icmp = ICMPHeader(type: packet[start], code: packet[start + 1])
      return .packet(PacketHeaders(ip: ip, transport: .icmp(icmp), payload: start + 8..<end))
    default: break
    }
    return .packet(PacketHeaders(ip: ip, transport: .other(ip.protocolNumber), payload: start..<end))
  }

  private init(ip: IPHeader, transport: Transport, payload: Range<Int>) {
    self.ip = ip
    self.transport = transport
    self.payloadOffset = payload.lowerBound
    self.payloadLength = payload.count
  }
}
