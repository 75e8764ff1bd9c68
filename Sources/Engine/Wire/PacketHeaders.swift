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
  /// Reads the headers of the IP packet in `packet`, which may be followed by padding. Takes any bytes; allocates
  /// nothing.
  static func parse(_ packet: Span<UInt8>) -> ParseResult {
    do {
      return .packet(try PacketHeaders(packet))
    } catch {
      return .malformed(error)
    }
  }

  /// As ``parse(_:)``.
  init(_ packet: Span<UInt8>) throws(Malformation) {
    ip = try IPHeader(packet)
    let start = ip.headerLength
    var end = ip.totalLength
    var headerLength = 0
    switch ip.protocolNumber {
    case _ where ip.isFragment: transport = .fragment
    case _ where ip.isSourceRouted: transport = .other(ip.protocolNumber)
    case ProtocolNumber.tcp:
      let tcp = try TCPHeader(packet, at: start, end: end)
      transport = .tcp(tcp)
      headerLength = tcp.headerLength
    case ProtocolNumber.udp:
      guard start + 8 <= end else { throw .truncatedTransport }
      let length = packet.uint16(at: start + 4)
      guard length >= 8, start + Int(length) <= end else { throw .badUDPLength }
      transport = .udp(
        UDPHeader(
          sourcePort: packet.uint16(at: start), destinationPort: packet.uint16(at: start + 2), length: length))
      headerLength = 8
      end = start + Int(length)
    case ip.isIPv6 ? ProtocolNumber.icmpv6 : ProtocolNumber.icmp:
      guard start + 8 <= end else { throw .truncatedTransport }
      transport = .icmp(ICMPHeader(type: packet[start], code: packet[start + 1]))
      headerLength = 8
    default: transport = .other(ip.protocolNumber)
    }
    payloadOffset = start + headerLength
    payloadLength = end - payloadOffset
  }
}
