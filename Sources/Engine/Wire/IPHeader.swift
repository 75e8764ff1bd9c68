/// Protocol numbers that the engine knows (IANA, Protocol Numbers).
enum ProtocolNumber {
  static let icmp: UInt8 = 1
  static let tcp: UInt8 = 6
  static let udp: UInt8 = 17
  static let icmpv6: UInt8 = 58
}

/// What an IPv4 header (RFC 791), or an IPv6 header with the whole chain of its extension headers (RFC 8200), says.
struct IPHeader: Sendable {
  var isIPv6: Bool
  var source: IPAddress
  var destination: IPAddress
  /// Octets before the transport header: options and extension headers included.
  var headerLength: Int
  /// Octets by the IP length field, headers included; what lies beyond in the buffer is link-layer padding.
  var totalLength: Int
  /// DSCP in the upper six bits, ECN in the lower two.
  var trafficClass: UInt8
  /// Time to live, as IPv4 calls it.
  var hopLimit: UInt8
  /// 20 bits; 0 in IPv4.
  var flowLabel: UInt32
  /// IPv4's; the lower half of the fragment header's in IPv6, 0 without one.
  var identification: UInt16
  /// Always true in IPv6, whose routers do not fragment.
  var dontFragment: Bool
  /// What follows the last header that was understood: the transport protocol, or that of the whole where this is a
  /// fragment.
  var protocolNumber: UInt8
  /// Whether this is a part of a packet only. An atomic fragment (offset 0, no more to come; RFC 6946) is a whole one.
  var isFragment: Bool
  /// Whether there are IPv4 options or IPv6 extension headers.
  var hasOptions: Bool
  /// Whether a routing header still names places to go: the address under the transport checksum is not `destination`.
  var isSourceRouted: Bool
}

extension IPHeader {
  /// Reads the header, or the headers, that `packet` begins with.
  ///
  /// - Parameter isQuoted: whether this is what an ICMP error quotes: `packet` may end in front of its `totalLength`.
  init(_ packet: Span<UInt8>, isQuoted: Bool = false) throws(Malformation) {
    guard packet.count >= 20 else { throw .truncated }
    switch packet[0] >> 4 {
    case 4: try self.init(ipv4: packet)
    case 6: try self.init(ipv6: packet)
    default: throw .badVersion
    }
    guard isQuoted || totalLength <= packet.count else { throw .badTotalLength }
  }

  private init(ipv4 packet: Span<UInt8>) throws(Malformation) {
    headerLength = Int(packet[0] & 0xf) * 4
    guard headerLength >= 20 else { throw .badHeaderLength }
    guard headerLength <= packet.count else { throw .truncated }
    totalLength = Int(packet.uint16(at: 2))
    guard totalLength >= headerLength else { throw .badTotalLength }
    isIPv6 = false
    source = IPAddress(v4: packet.uint32(at: 12))
    destination = IPAddress(v4: packet.uint32(at: 16))
    trafficClass = packet[1]
    hopLimit = packet[8]
    flowLabel = 0
    identification = packet.uint16(at: 4)
    let fragmentation = packet.uint16(at: 6)
    dontFragment = fragmentation & 0x4000 != 0
    isFragment = fragmentation & 0x3fff != 0
    protocolNumber = packet[9]
    hasOptions = headerLength > 20
    isSourceRouted = false
  }

  private init(ipv6 packet: Span<UInt8>) throws(Malformation) {
    guard packet.count >= 40 else { throw .truncated }
    headerLength = 40
    totalLength = 40 + Int(packet.uint16(at: 4))
    let word = packet.uint32(at: 0)
    isIPv6 = true
    source = IPAddress(high: packet.uint64(at: 8), low: packet.uint64(at: 16))
    destination = IPAddress(high: packet.uint64(at: 24), low: packet.uint64(at: 32))
    trafficClass = UInt8(truncatingIfNeeded: word >> 20)
    hopLimit = packet[7]
    flowLabel = word & 0xf_ffff
    identification = 0
    dontFragment = true
    isFragment = false
    protocolNumber = packet[6]
    hasOptions = false
    isSourceRouted = false
    try followExtensions(packet)
  }

  /// Walks to the first header that is no extension header (RFC 8200 section 4), or to the fragmented part. However many there
  /// are, the destination walks as far, and each has eight octets at the least: it costs less than a checksum.
  private mutating func followExtensions(_ packet: Span<UInt8>) throws(Malformation) {
    let end = min(totalLength, packet.count)
    var isFirst = true
    while true {
      let kind = protocolNumber
      switch kind {
      case 0:  // Hop-by-hop options stand first, or nowhere (RFC 8200 section 4.1).
        guard isFirst else { throw .misplacedExtension }
      case 43, 44, 60, 135, 139, 140: break  // Routing, fragment, destination options, mobility, HIP, shim6.
      default: return
      }
      isFirst = false
      hasOptions = true
      guard headerLength + 8 <= end else { throw .truncatedExtension }
      protocolNumber = packet[headerLength]
      if kind == 44 {
        let fragmentation = packet.uint16(at: headerLength + 2)
        identification = packet.uint16(at: headerLength + 6)
        headerLength += 8
        if fragmentation & 0xfff9 != 0 {
          isFragment = true
          return
        }
      } else {
        if kind == 43, packet[headerLength + 3] != 0 { isSourceRouted = true }
        let length = (Int(packet[headerLength + 1]) + 1) * 8
        guard headerLength + length <= end else { throw .truncatedExtension }
        headerLength += length
      }
    }
  }
}
