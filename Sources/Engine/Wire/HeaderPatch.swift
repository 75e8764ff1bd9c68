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
