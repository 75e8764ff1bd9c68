/// Changes to headers that were copied from a packet, in place and without changing their length.
///
/// `bytes` holds at least the headers; `tcp` and `udp` say where in it the transport header starts. Transport
/// checksums are left to the caller, who sets them last; ``setTCPChecksum(_:in:tcp:)`` takes 0 too, as a full
/// computation wants it first.
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

  /// Sets the identification of an IPv4 header, and its checksum.
  static func setIdentification(_ identification: UInt16, in bytes: inout MutableSpan<UInt8>) {
    bytes.store(identification, at: 4)
    setIPv4Checksum(in: &bytes)
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

  static func setTCPChecksum(_ checksum: UInt16, in bytes: inout MutableSpan<UInt8>, tcp: Int) {
    bytes.store(checksum, at: tcp + 16)
  }

  static func setTCPUrgentPointer(_ pointer: UInt16, in bytes: inout MutableSpan<UInt8>, tcp: Int) {
    bytes.store(pointer, at: tcp + 18)
  }

  /// Sets the timestamps; `option` is ``TCPOptions/timestampsOffset``.
  static func setTimestamps(
    value: UInt32, echo: UInt32, in bytes: inout MutableSpan<UInt8>, tcp: Int, option: Int
  ) {
    bytes.store(value, at: tcp + option + 2)
    bytes.store(echo, at: tcp + option + 6)
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

  /// Overwrites every option of `kind` with NOPs; says whether there was one.
  @discardableResult
  static func removeOption(_ kind: UInt8, in bytes: inout MutableSpan<UInt8>, tcp: Int) -> Bool {
    var found = false
    var offset = 20
    while let option = nextOption(from: &offset, in: bytes, tcp: tcp) {
      guard option.kind == kind else { continue }
      for octet in option.octets { bytes[octet] = TCPOptionKind.noOperation }
      found = true
    }
    return found
  }

  /// Lowers the maximum segment size option to `size` where it offers more; says whether it did.
  @discardableResult
  static func lowerMaximumSegmentSize(to size: UInt16, in bytes: inout MutableSpan<UInt8>, tcp: Int) -> Bool {
    var lowered = false
    var offset = 20
    while let option = nextOption(from: &offset, in: bytes, tcp: tcp) {
      guard option.kind == TCPOptionKind.maximumSegmentSize, option.octets.count == 4 else { continue }
      guard bytes.uint16(at: option.octets.lowerBound + 2) > size else { continue }
      bytes.store(size, at: option.octets.lowerBound + 2)
      lowered = true
    }
    return lowered
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

  /// Sets the UDP length to `length` octets, header included, and the checksum.
  static func setUDP(length: Int, checksum: UInt16, in bytes: inout MutableSpan<UInt8>, udp: Int) {
    bytes.store(UInt16(length), at: udp + 4)
    bytes.store(checksum, at: udp + 6)
  }
}
