/// How a packet is cut into fragments.
struct FragmentCut {
  /// Octets in front of what is cut, without and with the header that names a fragment.
  let start: Int
  let headerCount: Int
  /// Octets that are cut, and those of each fragment but the last.
  let payloadCount: Int
  let size: Int
  private let isIPv6: Bool
  /// IPv4: flags and offset as they were, for it may be a fragment already. IPv6: what follows.
  private let before: UInt16

  /// Nil where the packet must not be cut (DF), or would have to be cut behind headers of IPv6 that stand in each fragment.
  init?(of headers: PacketHeaders, _ packet: Span<UInt8>, mtu: Int) {
    isIPv6 = headers.ip.isIPv6
    if isIPv6 {
      let next = packet[6]
      // Hop-by-hop options, routing, or a fragment already.
      guard ![0, 43, 44].contains(next) else { return nil }
      start = 40
      headerCount = 48
      before = UInt16(next)
    } else {
      guard !headers.ip.dontFragment else { return nil }
      start = headers.ip.headerLength
      headerCount = start
      before = packet.uint16(at: 6)
    }
    size = (mtu - headerCount) & ~7
    payloadCount = headers.ip.totalLength - start
    guard size > 0 else { return nil }
  }

  /// Makes the headers of the fragment with the `count` octets at `offset` of those that come in front of the whole.
  func write(into header: inout MutableSpan<UInt8>, offset: Int, count: Int, number: UInt16) {
    let isLast = offset + count == payloadCount
    guard isIPv6 else {
      let more = isLast ? before & 0x2000 : 0x2000
      header.store(more | ((before & 0x1fff) + UInt16(offset / 8)), at: 6)
      HeaderPatch.setTotalLength(headerCount + count, in: &header)
      return
    }
    header[6] = 44
    HeaderPatch.setTotalLength(headerCount + count, in: &header)
    header[40] = UInt8(truncatingIfNeeded: before)
    header[41] = 0
    header.store(UInt16(offset) | (isLast ? 0 : 1), at: 42)
    header.store(UInt32(number), at: 44)
  }
}
