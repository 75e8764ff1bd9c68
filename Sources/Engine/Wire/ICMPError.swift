/// An ICMP (RFC 792) or ICMPv6 (RFC 4443) error about a TCP segment.
struct ICMPError: Sendable {
  /// What is quoted of the segment.
  var segment: QuotedSegment
  /// Where the quotation begins, in octets from the start of the packet.
  var quotationOffset: Int
  /// The MTU of the hop that the segment did not fit through, its IP header included, as it is told: IPv4 routers from before
  /// RFC 1191 say 0. Nil where the error tells of something else.
  var mtu: Int?
}

/// The beginning of a TCP segment: an IP header and at least the first eight octets of the TCP header.
struct QuotedSegment: Sendable {
  var ip: IPHeader
  var sourcePort: UInt16
  var destinationPort: UInt16
  var sequence: UInt32
  /// Where the sequence number stands, in octets from the start of the quotation.
  var sequenceOffset: Int { ip.headerLength + 4 }
}

extension ICMPError {
  /// Reads the error in `packet`, which has `headers`; nil where it is none, or does not quote the beginning of a TCP segment.
  /// Takes any bytes; allocates nothing.
  init?(_ packet: Span<UInt8>, _ headers: PacketHeaders) {
    guard case .icmp(let icmp) = headers.transport, Self.isError(icmp, isIPv6: headers.ip.isIPv6) else { return nil }
    let range = headers.payloadOffset..<headers.payloadOffset + headers.payloadLength
    guard let segment = QuotedSegment(packet.extracting(range)), segment.ip.isIPv6 == headers.ip.isIPv6 else {
      return nil
    }
    self.segment = segment
    quotationOffset = headers.payloadOffset
    switch (headers.ip.isIPv6, icmp.type, icmp.code) {
    case (false, 3, 4): mtu = Int(packet.uint16(at: headers.payloadOffset - 2))
    case (true, 2, _): mtu = Int(packet.uint32(at: headers.payloadOffset - 4))
    default: mtu = nil
    }
  }

  /// Destination unreachable, source quench, time exceeded and parameter problem; of ICMPv6 all types below 128 (RFC 4443
  /// section 2.1).
  private static func isError(_ icmp: ICMPHeader, isIPv6: Bool) -> Bool {
    isIPv6 ? icmp.type < 128 : [3, 4, 11, 12].contains(icmp.type)
  }
}

extension QuotedSegment {
  /// Reads what is quoted; nil where it is not the beginning of a TCP segment, or too little of it. Takes any bytes.
  init?(_ quotation: Span<UInt8>) {
    guard let ip = try? IPHeader(quotation, isQuoted: true), ip.protocolNumber == ProtocolNumber.tcp, !ip.isFragment,
      !ip.isSourceRouted, ip.headerLength + 8 <= quotation.count
    else { return nil }
    self.ip = ip
    sourcePort = quotation.uint16(at: ip.headerLength)
    destinationPort = quotation.uint16(at: ip.headerLength + 2)
    sequence = quotation.uint32(at: ip.headerLength + 4)
  }
}
