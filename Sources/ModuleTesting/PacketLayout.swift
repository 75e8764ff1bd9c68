/// Where the headers of a packet stand, read anew for this kit (RFC 791, RFC 8200).
struct PacketLayout {
  let isIPv6: Bool
  /// Octets by the IP header.
  let length: Int
  /// Where the transport header begins: behind options and extension headers.
  private(set) var transport: Int
  private(set) var protocolNumber: UInt8
  private(set) var isFragment = false
  /// Whether a routing header names places yet to go, so that the transport's checksum is not over the destination.
  private(set) var isRouted = false
  /// Behind the transport's header; behind the first eight octets of ICMP; ``transport`` where that is not looked into.
  private(set) var payload: Int
  /// Behind the payload: ``length``, or where UDP says so.
  private(set) var end: Int

  /// - Parameter isQuoted: whether an ICMP error may have cut the packet off.
  /// - Returns: nil where the headers make no sense.
  init?(_ octets: [UInt8], isQuoted: Bool = false) {
    guard octets.count >= 20, octets[0] >> 4 == 4 || octets[0] >> 4 == 6 else { return nil }
    isIPv6 = octets[0] >> 4 == 6
    guard !isIPv6 || octets.count >= 40 else { return nil }
    length = Int(octets.word(isIPv6 ? 4 : 2)) + (isIPv6 ? 40 : 0)
    transport = isIPv6 ? 40 : Int(octets[0] & 15) * 4
    protocolNumber = octets[isIPv6 ? 6 : 9]
    payload = transport
    end = length
    guard transport >= 20, transport <= min(length, octets.count), isQuoted || length <= octets.count else {
      return nil
    }
    if isIPv6 {
      guard followExtensions(octets) else { return nil }
    } else {
      isFragment = octets.word(6) & 0x3fff != 0
    }
    payload = transport
    guard !isFragment, !isRouted else { return }
    switch protocolNumber {
    case 6:
      guard transport + 20 <= end, isQuoted || transport + 20 <= octets.count else { return nil }
      payload = transport + (transport + 13 <= octets.count ? Int(octets[transport + 12] >> 4) * 4 : 20)
    case 17:
      guard transport + 8 <= min(end, octets.count) else { return nil }
      let count = Int(octets.word(transport + 4))
      guard count >= 8, transport + count <= end else { return nil }
      payload = transport + 8
      end = transport + count
    case isIPv6 ? 58 : 1:
      guard transport + 8 <= min(end, octets.count) else { return nil }
      payload = transport + 8
    default: break
    }
    guard payload <= end, protocolNumber != 6 || payload >= transport + 20 else { return nil }
  }

  /// Walks to the first header that is no extension header (RFC 8200 section 4).
  private mutating func followExtensions(_ octets: [UInt8]) -> Bool {
    var isFirst = true
    while isExtension {
      let kind = protocolNumber
      guard isFirst || kind != 0, transport + 8 <= min(length, octets.count) else { return false }
      isFirst = false
      protocolNumber = octets[transport]
      if kind == 43, octets[transport + 3] != 0 { isRouted = true }
      // A fragment header has eight octets, and one of a whole packet (RFC 6946) is passed over.
      if kind == 44, octets.word(transport + 2) & 0xfff9 != 0 { isFragment = true }
      transport += kind == 44 ? 8 : (Int(octets[transport + 1]) + 1) * 8
      guard transport <= min(length, octets.count) else { return false }
      if isFragment { break }
    }
    return true
  }

  /// Hop-by-hop options, routing, fragment, destination options, mobility, HIP, shim6.
  private var isExtension: Bool {
    switch protocolNumber {
    case 0, 43, 44, 60, 135, 139, 140: true
    default: false
    }
  }

  /// Where the transport has its checksum; nil where there is none that could be looked at.
  var checksum: Int? {
    guard !isFragment, !isRouted else { return nil }
    switch protocolNumber {
    case 6: return transport + 16
    case 17: return transport + 6
    case isIPv6 ? 58 : 1: return transport + 2
    default: return nil
    }
  }

  /// Whether that is over the addresses too.
  var hasPseudoHeader: Bool { isIPv6 || protocolNumber != 1 }
}

extension [UInt8] {
  /// The number in two octets.
  func word(_ offset: Int) -> UInt16 { UInt16(self[offset]) << 8 | UInt16(self[offset + 1]) }
  func doubleWord(_ offset: Int) -> UInt32 { UInt32(word(offset)) << 16 | UInt32(word(offset + 2)) }
}
