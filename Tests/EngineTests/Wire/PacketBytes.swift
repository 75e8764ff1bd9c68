@testable import Engine

/// Packets written out by hand, octet by octet, independently of the code under test.
enum PacketBytes {
  static func octets(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xff)] }
  static func octets(_ value: UInt32) -> [UInt8] { octets(UInt16(value >> 16)) + octets(UInt16(value & 0xffff)) }

  static func ipv4(
    _ payload: [UInt8], protocolNumber: UInt8 = 6, options: [UInt8] = [], fragmentation: UInt16 = 0x4000,
    totalLength: Int? = nil
  ) -> [UInt8] {
    let headerLength = 20 + options.count
    var packet: [UInt8] = [0x40 | UInt8(headerLength / 4), 0xb9]
    packet += octets(UInt16(totalLength ?? headerLength + payload.count))
    packet += [0x12, 0x34]
    packet += octets(fragmentation)
    packet += [64, protocolNumber, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7]
    return packet + options + payload
  }

  static func ipv6(_ payload: [UInt8], next: UInt8 = 6, payloadLength: Int? = nil) -> [UInt8] {
    var packet: [UInt8] = [0x6b, 0x91, 0x23, 0x45]
    packet += octets(UInt16(payloadLength ?? payload.count))
    packet += [next, 63]
    for host in [1, 2] as [UInt8] { packet += [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host] }
    return packet + payload
  }

  /// Each extension header without its first octet, the next header.
  static func ipv6(
    _ payload: [UInt8], extensions: [(kind: UInt8, octets: [UInt8])], next: UInt8 = 6
  ) -> [UInt8] {
    var chain: [UInt8] = []
    for (index, header) in extensions.enumerated() {
      chain += [index + 1 < extensions.count ? extensions[index + 1].kind : next] + header.octets
    }
    return ipv6(chain + payload, next: extensions.first?.kind ?? next)
  }

  static func tcp(
    _ payload: [UInt8] = [], options: [UInt8] = [], flags: UInt8 = 0x18, dataOffset: UInt8? = nil
  ) -> [UInt8] {
    let offset = dataOffset ?? UInt8((20 + options.count) / 4)
    var octets: [UInt8] = [0x9c, 0x40, 0, 80, 0x01, 0x02, 0x03, 0x04, 0xff, 0xfe, 0xfd, 0xfc]
    octets += [offset << 4, flags, 0x72, 0x10, 0, 0, 0, 9]
    octets += options
    return octets + payload
  }

  static func udp(_ payload: [UInt8], length: Int? = nil) -> [UInt8] {
    [0x14, 0xe9, 0, 53] + octets(UInt16(length ?? 8 + payload.count)) + [0, 0] + payload
  }

  /// The checksum as RFC 1071 words it.
  static func naiveChecksum(_ bytes: [UInt8]) -> UInt16 {
    var sum: UInt32 = 0
    for index in stride(from: 0, to: bytes.count, by: 2) {
      sum += UInt32(bytes[index]) << 8 + (index + 1 < bytes.count ? UInt32(bytes[index + 1]) : 0)
      if sum > 0xffff { sum -= 0xffff }
    }
    return ~UInt16(sum)
  }
}

extension [UInt8] {
  func parsed() -> PacketHeaders? {
    if case .packet(let headers) = PacketHeaders.parse(span) { headers } else { nil }
  }

  /// The ICMP error about a TCP segment, where it is one.
  var icmpError: ICMPError? { parsed().flatMap { ICMPError(span, $0) } }

  var malformation: Malformation? {
    if case .malformed(let reason) = PacketHeaders.parse(span) { reason } else { nil }
  }
}

extension [UInt8] {
  func hasRightTransportChecksum(_ headers: PacketHeaders) -> Bool {
    Checksum.verifyTransport(packet: span, headers: headers)
  }

  func word(at offset: Int) -> UInt16 { UInt16(self[offset]) << 8 | UInt16(self[offset + 1]) }
}

extension PacketHeaders {
  var tcp: TCPHeader? { if case .tcp(let header) = transport { header } else { nil } }
  var udp: UDPHeader? { if case .udp(let header) = transport { header } else { nil } }
  var icmp: ICMPHeader? { if case .icmp(let header) = transport { header } else { nil } }
  var other: UInt8? { if case .other(let number) = transport { number } else { nil } }
  var isTransportFragment: Bool { if case .fragment = transport { true } else { false } }
}
