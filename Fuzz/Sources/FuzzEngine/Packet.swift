/// TCP/IP packets, made and read without the engine's help, so that it is not checked against itself.
struct Packet {
  struct Flags: OptionSet {
    let rawValue: UInt8
    static let fin = Flags(rawValue: 1)
    static let syn = Flags(rawValue: 2)
    static let rst = Flags(rawValue: 4)
    static let ack = Flags(rawValue: 16)
  }

  var bytes: [UInt8]

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  init(
    _ source: Address, _ destination: Address, sequence: UInt32, acknowledgement: UInt32, flags: Flags, window: UInt16,
    options: [UInt8] = [], payload: [UInt8] = []
  ) {
    let padded = options + [UInt8](repeating: 1, count: (4 - options.count % 4) % 4)
    let length = 20 + padded.count + payload.count
    if source.isIPv6 {
      bytes = [0x60, 0, 0, 0] + Self.octets(UInt16(length)) + [6, 64] + source.octets + destination.octets
    } else {
      bytes = [0x45, 0] + Self.octets(UInt16(20 + length)) + [0, 0, 0x40, 0, 64, 6, 0, 0] + source.octets
      bytes += destination.octets
      let sum = ~Self.sum(bytes[...])
      bytes[10] = UInt8(sum >> 8)
      bytes[11] = UInt8(sum & 255)
    }
    let start = bytes.count
    bytes +=
      Self.octets(source.port) + Self.octets(destination.port) + Self.octets(sequence) + Self.octets(acknowledgement)
    bytes +=
      [UInt8((20 + padded.count) / 4) << 4, flags.rawValue] + Self.octets(window) + [0, 0, 0, 0] + padded + payload
    let sum = ~Self.sum(bytes[start...], initial: pseudo(start))
    bytes[start + 16] = UInt8(sum >> 8)
    bytes[start + 17] = UInt8(sum & 255)
  }

  /// A router's ICMP message, its checksum left out, for the source of `segment`.
  init(router segment: Packet, message: [UInt8]) {
    let count = message.count
    if segment.isIPv6 {
      bytes = [0x60, 0, 0, 0] + Self.octets(UInt16(count)) + [58, 64] + [UInt8](repeating: 9, count: 16)
      bytes += segment.bytes[8..<24]
    } else {
      bytes = [0x45, 0] + Self.octets(UInt16(20 + count)) + [0, 0, 0, 0, 64, 1, 0, 0, 9, 9, 9, 9]
      bytes += segment.bytes[12..<16]
    }
    bytes += message
  }

  static func octets(_ number: UInt16) -> [UInt8] { [UInt8(number >> 8), UInt8(number & 255)] }
  static func octets(_ number: UInt32) -> [UInt8] { octets(UInt16(number >> 16)) + octets(UInt16(number & 0xffff)) }

  private static func sum(_ bytes: ArraySlice<UInt8>, initial: UInt32 = 0) -> UInt16 {
    var sum = UInt64(initial)
    var index = bytes.startIndex
    while index + 1 < bytes.endIndex {
      sum += UInt64(bytes[index]) << 8 | UInt64(bytes[index + 1])
      index += 2
    }
    if index < bytes.endIndex { sum += UInt64(bytes[index]) << 8 }
    while sum > 0xffff { sum = sum >> 16 + sum & 0xffff }
    return UInt16(sum)
  }

  private func pseudo(_ start: Int) -> UInt32 {
    let addresses = isIPv6 ? bytes[8..<40] : bytes[12..<20]
    return UInt32(Self.sum(addresses)) + 6 + UInt32(bytes.count - start)
  }

  // MARK: Reading

  var isIPv6: Bool { bytes[0] >> 4 == 6 }
  var tcp: Int { isIPv6 ? 40 : Int(bytes[0] & 15) * 4 }
  private func number(_ offset: Int, _ count: Int) -> UInt32 {
    bytes[offset..<offset + count].reduce(0) { $0 << 8 | UInt32($1) }
  }
  var sourcePort: UInt16 { UInt16(number(tcp, 2)) }
  var sequence: UInt32 { number(tcp + 4, 4) }
  var acknowledgement: UInt32 { number(tcp + 8, 4) }
  var flags: Flags { Flags(rawValue: bytes[tcp + 13]) }
  var window: UInt16 { UInt16(number(tcp + 14, 2)) }
  var payload: ArraySlice<UInt8> { bytes[(tcp + Int(bytes[tcp + 12] >> 4) * 4)...] }

  /// Whether lengths and checksums are right.
  var isWellFormed: Bool {
    guard bytes.count >= 40, Int(number(isIPv6 ? 4 : 2, 2)) + (isIPv6 ? 40 : 0) == bytes.count else { return false }
    guard isIPv6 || Self.sum(bytes[..<tcp]) == 0xffff else { return false }
    return Self.sum(bytes[tcp...], initial: pseudo(tcp)) == 0xffff
  }
}

/// An end's address and port.
struct Address {
  var octets: [UInt8]
  var port: UInt16
  var isIPv6: Bool { octets.count == 16 }
}
