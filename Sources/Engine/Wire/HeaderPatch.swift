/// Changes to headers that were copied from a packet, in place and without changing their length.
///
/// `bytes` holds at least the headers; `tcp` says where in it the TCP header starts. Its checksum is left to the caller,
/// who sets it last; ``setTCPChecksum(_:in:tcp:)`` takes 0 too, as a full computation wants it first.
enum HeaderPatch {
  /// Sets the IP length field to `totalLength` octets, headers included, and IPv4's header checksum.
  ///
  /// - Parameter totalLength: At most 65535 in IPv4, 65575 in IPv6.
  static func setTotalLength(_ totalLength: Int, in bytes: inout MutableSpan<UInt8>) {
    if bytes[0] >> 4 == 6 {
      bytes.store(UInt16(totalLength - 40), at: 4)
    } else {
      bytes.store(UInt16(totalLength), at: 2)
      setIPv4Checksum(in: &bytes)
    }
  }

  /// Clears DF of an IPv4 header, and gives it an identification that its fragments can be told by (RFC 6864). The checksum is
  /// left to the caller.
  static func allowFragments(identification: UInt16, in bytes: inout MutableSpan<UInt8>) {
    bytes.store(identification, at: 4)
    bytes.store(bytes.uint16(at: 6) & 0xbfff, at: 6)
  }

  /// Sets the identification of an IPv4 header. The checksum is left to the caller.
  static func setIdentification(_ identification: UInt16, in bytes: inout MutableSpan<UInt8>) {
    bytes.store(identification, at: 4)
  }

  /// Adds one to the hop limit, where that is not the largest, and sets IPv4's header checksum.
  static func raiseHopLimit(in bytes: inout MutableSpan<UInt8>) {
    let isIPv6 = bytes[0] >> 4 == 6
    let field = isIPv6 ? 7 : 8
    if bytes[field] < .max { bytes[field] += 1 }
    if !isIPv6 { setIPv4Checksum(in: &bytes) }
  }

  /// Sets every checksum of a whole packet that has `headers`: IPv4's, and that of TCP, UDP or ICMP. UDP over IPv4 that goes
  /// without one (RFC 768) stays without.
  static func setChecksums(of headers: PacketHeaders, in bytes: inout MutableSpan<UInt8>) {
    let ip = headers.ip
    if !ip.isIPv6 { setIPv4Checksum(in: &bytes) }
    let start = ip.headerLength
    let end = headers.payloadOffset + headers.payloadLength
    let field: Int
    switch headers.transport {
    case .tcp: field = start + 16
    case .udp: field = start + 6
    case .icmp: field = start + 2
    case .fragment, .other: return
    }
    var isUDP = false
    if case .udp = headers.transport {
      isUDP = true
      if !ip.isIPv6, bytes.uint16(at: field) == 0 { return }
    }
    var sum: UInt64 = 0
    if ip.isIPv6 || ip.protocolNumber != ProtocolNumber.icmp {
      sum = Checksum.pseudoHeader(
        source: ip.source, destination: ip.destination, protocolNumber: ip.protocolNumber, length: end - start,
        isIPv6: ip.isIPv6)
    }
    bytes.store(0 as UInt16, at: field)
    let checksum = Checksum.fold(Checksum.sum(bytes.span.extracting(start..<end), initial: sum))
    if isUDP { setUDPChecksum(checksum, in: &bytes, udp: start) } else { bytes.store(checksum, at: field) }
  }

  /// Sets the length of header and payload.
  static func setUDPLength(_ length: Int, in bytes: inout MutableSpan<UInt8>, udp: Int) {
    bytes.store(UInt16(length), at: udp + 4)
  }

  /// Sets the checksum; the other zero where it is zero, which would say that there is none (RFC 768).
  static func setUDPChecksum(_ checksum: UInt16, in bytes: inout MutableSpan<UInt8>, udp: Int) {
    bytes.store(checksum == 0 ? 0xffff : checksum, at: udp + 6)
  }

  private static func setIPv4Checksum(in bytes: inout MutableSpan<UInt8>) {
    bytes.store(0 as UInt16, at: 10)
    bytes.store(Checksum.fold(Checksum.sum(bytes.span.extracting(0..<Int(bytes[0] & 0xf) * 4))), at: 10)
  }

  static func setTCPSequence(_ sequence: UInt32, in bytes: inout MutableSpan<UInt8>, tcp: Int) {
    bytes.store(sequence, at: tcp + 4)
  }

  static func setTCPAcknowledgement(_ acknowledgement: UInt32, in bytes: inout MutableSpan<UInt8>, tcp: Int) {
    bytes.store(acknowledgement, at: tcp + 8)
  }

  static func setTCPFlags(_ flags: TCPFlags, in bytes: inout MutableSpan<UInt8>, tcp: Int) {
    bytes[tcp + 13] = flags.rawValue
  }

  static func setTCPWindow(_ window: UInt16, in bytes: inout MutableSpan<UInt8>, tcp: Int) {
    bytes.store(window, at: tcp + 14)
  }

  /// Overwrites with NOPs every option that `isUnwanted` names by its kind, and by the rest of its octets.
  static func removeOptions(
    in bytes: inout MutableSpan<UInt8>, tcp: Int, where isUnwanted: (UInt8, Span<UInt8>) -> Bool
  ) {
    var offset = 20
    while let option = nextOption(from: &offset, in: bytes, tcp: tcp) {
      let rest = option.octets.dropFirst(2)
      guard isUnwanted(option.kind, bytes.span.extracting(rest)) else { continue }
      for octet in option.octets { bytes[octet] = TCPOptionKind.noOperation }
    }
  }

  /// Sets the size in every maximum segment size option.
  static func setMaximumSegmentSize(_ size: UInt16, in bytes: inout MutableSpan<UInt8>, tcp: Int) {
    var offset = 20
    while let option = nextOption(from: &offset, in: bytes, tcp: tcp) {
      guard option.kind == TCPOptionKind.maximumSegmentSize, option.octets.count == 4 else { continue }
      bytes.store(size, at: option.octets.lowerBound + 2)
    }
  }

  /// The first option at or after `offset` that has a length, and steps past it; nil at the end, or where the options
  /// make no sense any more.
  private static func nextOption(
    from offset: inout Int, in bytes: borrowing MutableSpan<UInt8>, tcp: Int
  ) -> (kind: UInt8, octets: Range<Int>)? {
    let headerLength = Int(bytes[tcp + 12] >> 4) * 4
    while offset < headerLength, bytes[tcp + offset] == TCPOptionKind.noOperation { offset += 1 }
    guard offset + 1 < headerLength, bytes[tcp + offset] != TCPOptionKind.end else { return nil }
    let length = Int(bytes[tcp + offset + 1])
    guard length >= 2, offset + length <= headerLength else { return nil }
    let start = tcp + offset
    offset += length
    return (bytes[start], start..<start + length)
  }

  static func setTCPChecksum(_ checksum: UInt16, in bytes: inout MutableSpan<UInt8>, tcp: Int) {
    bytes.store(checksum, at: tcp + 16)
  }

  static func setTCPUrgentPointer(_ pointer: UInt16, in bytes: inout MutableSpan<UInt8>, tcp: Int) {
    bytes.store(pointer, at: tcp + 18)
  }

  /// Sets the sequence number that the packet in `bytes`, which is `error`, quotes, and its ICMP checksum. The quoted TCP
  /// checksum stays: nobody can verify it.
  static func setQuotedSequence(_ sequence: UInt32, of error: ICMPError, in bytes: inout MutableSpan<UInt8>) {
    let field = error.quotationOffset - 6
    bytes.store(Checksum.update(bytes.uint16(at: field), from: error.segment.sequence, to: sequence), at: field)
    bytes.store(sequence, at: error.quotationOffset + error.segment.sequenceOffset)
  }

  /// Puts `blocks` in the place of those of the SACK option at `option` (``TCPOptions/sackOffset``), NOPs where there
  /// are fewer now. Blocks beyond the option's old length are left out.
  static func setSACK(_ blocks: SACKBlocks, in bytes: inout MutableSpan<UInt8>, tcp: Int, option: Int) {
    let start = tcp + option
    let oldLength = Int(bytes[start + 1])
    let count = min(blocks.count, (oldLength - 2) / 8)
    let length = count > 0 ? 2 + 8 * count : 0
    if count > 0 { bytes[start + 1] = UInt8(length) }
    for index in 0..<max(count, 0) {
      bytes.store(blocks[index].left, at: start + 2 + index * 8)
      bytes.store(blocks[index].right, at: start + 6 + index * 8)
    }
    for offset in length..<max(oldLength, length) { bytes[start + offset] = TCPOptionKind.noOperation }
  }
}
