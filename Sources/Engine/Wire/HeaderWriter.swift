/// Writes fresh headers in front of payload.
///
/// The caller gives the room: `bytes` must hold the header that is asked for at `offset`, which is a matter of the
/// program and not of the traffic, so a lack of room traps.
enum HeaderWriter {
  /// Octets of the longest IP header written here.
  static let longestIP = 40
  /// Octets of the longest TCP header.
  static let longestTCP = 60

  /// Writes an IP header without options or extension headers that says what `template` says, and returns its length:
  /// 20 octets in IPv4, checksum included, or 40 in IPv6.
  ///
  /// - Parameters:
  ///   - payloadLength: Octets after the header written; with it at most 65535 (IPv4), or alone (IPv6).
  ///   - identification: Of IPv4; needless where fragmentation is forbidden (RFC 6864 section 4.1).
  @discardableResult
  static func writeIP(
    from template: IPHeader, payloadLength: Int, identification: UInt16, into bytes: inout MutableSpan<UInt8>,
    at offset: Int = 0
  ) -> Int {
    template.isIPv6
      ? writeIPv6(from: template, payloadLength: payloadLength, into: &bytes, at: offset)
      : writeIPv4(
        from: template, payloadLength: payloadLength, identification: identification, into: &bytes, at: offset)
  }

  private static func writeIPv4(
    from template: IPHeader, payloadLength: Int, identification: UInt16, into bytes: inout MutableSpan<UInt8>,
    at offset: Int
  ) -> Int {
    bytes[offset] = 0x45
    bytes[offset + 1] = template.trafficClass
    bytes.store(UInt16(20 + payloadLength), at: offset + 2)
    bytes.store(identification, at: offset + 4)
    bytes.store(template.dontFragment ? 0x4000 : 0 as UInt16, at: offset + 6)
    bytes[offset + 8] = template.hopLimit
    bytes[offset + 9] = template.protocolNumber
    bytes.store(0 as UInt16, at: offset + 10)
    bytes.store(UInt32(truncatingIfNeeded: template.source.low), at: offset + 12)
    bytes.store(UInt32(truncatingIfNeeded: template.destination.low), at: offset + 16)
    bytes.store(Checksum.fold(Checksum.sum(bytes.span.extracting(offset..<offset + 20))), at: offset + 10)
    return 20
  }

  private static func writeIPv6(
    from template: IPHeader, payloadLength: Int, into bytes: inout MutableSpan<UInt8>, at offset: Int
  ) -> Int {
    bytes.store(6 << 28 | UInt32(template.trafficClass) << 20 | template.flowLabel & 0xf_ffff, at: offset)
    bytes.store(UInt16(payloadLength), at: offset + 4)
    bytes[offset + 6] = template.protocolNumber
    bytes[offset + 7] = template.hopLimit
    bytes.store(template.source.high, at: offset + 8)
    bytes.store(template.source.low, at: offset + 16)
    bytes.store(template.destination.high, at: offset + 24)
    bytes.store(template.destination.low, at: offset + 32)
    return 40
  }

  /// Writes a TCP header, its checksum zero, and returns its length: 20 to 60 octets.
  ///
  /// Timestamps and SACK blocks stand aligned behind two NOPs each, as Linux writes them. Beside timestamps there is
  /// room for three blocks; a fourth is left out.
  @discardableResult
  static func writeTCP(
    sourcePort: UInt16, destinationPort: UInt16, sequence: UInt32, acknowledgement: UInt32, flags: TCPFlags,
    window: UInt16, urgentPointer: UInt16 = 0, timestamps: (value: UInt32, echo: UInt32)? = nil,
    sack: SACKBlocks = SACKBlocks(), into bytes: inout MutableSpan<UInt8>, at offset: Int
  ) -> Int {
    bytes.store(sourcePort, at: offset)
    bytes.store(destinationPort, at: offset + 2)
    bytes.store(sequence, at: offset + 4)
    bytes.store(acknowledgement, at: offset + 8)
    bytes[offset + 13] = flags.rawValue
    bytes.store(window, at: offset + 14)
    bytes.store(0 as UInt16, at: offset + 16)
    bytes.store(urgentPointer, at: offset + 18)
    var length = 20
    if let timestamps {
      writeOption(TCPOptionKind.timestamps, length: 10, into: &bytes, at: offset + length)
      bytes.store(timestamps.value, at: offset + length + 4)
      bytes.store(timestamps.echo, at: offset + length + 8)
      length += 12
    }
    let blocks = min(sack.count, (longestTCP - length - 4) / 8)
    if blocks > 0 {
      writeOption(TCPOptionKind.sack, length: UInt8(2 + 8 * blocks), into: &bytes, at: offset + length)
      length += 4
      for index in 0..<blocks {
        bytes.store(sack[index].left, at: offset + length)
        bytes.store(sack[index].right, at: offset + length + 4)
        length += 8
      }
    }
    bytes[offset + 12] = UInt8(length / 4) << 4
    return length
  }

  /// Kind and length behind two NOPs.
  private static func writeOption(
    _ kind: UInt8, length: UInt8, into bytes: inout MutableSpan<UInt8>, at offset: Int
  ) {
    bytes[offset] = TCPOptionKind.noOperation
    bytes[offset + 1] = TCPOptionKind.noOperation
    bytes[offset + 2] = kind
    bytes[offset + 3] = length
  }
}
