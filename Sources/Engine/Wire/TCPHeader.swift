/// The control bits of a TCP header (RFC 9293 section 3.1).
struct TCPFlags: OptionSet, Hashable, Sendable {
  let rawValue: UInt8

  static let fin = TCPFlags(rawValue: 0x01)
  static let syn = TCPFlags(rawValue: 0x02)
  static let rst = TCPFlags(rawValue: 0x04)
  static let psh = TCPFlags(rawValue: 0x08)
  static let ack = TCPFlags(rawValue: 0x10)
  static let urg = TCPFlags(rawValue: 0x20)
  static let ece = TCPFlags(rawValue: 0x40)
  static let cwr = TCPFlags(rawValue: 0x80)
}

/// A TCP header (RFC 9293 section 3.1).
struct TCPHeader: Sendable {
  var sourcePort: UInt16
  var destinationPort: UInt16
  var sequence: UInt32
  var acknowledgement: UInt32
  var flags: TCPFlags
  /// As sent; not scaled.
  var window: UInt16
  var urgentPointer: UInt16
  /// Octets, options included: 20 to 60.
  var headerLength: Int
  var options: TCPOptions
}

extension TCPHeader {
  /// Reads the header at `offset`; `end` is where the IP packet ends.
  init(_ packet: Span<UInt8>, at offset: Int, end: Int) throws(Malformation) {
    guard offset + 20 <= end else { throw .truncatedTransport }
    headerLength = Int(packet[offset + 12] >> 4) * 4
    guard headerLength >= 20, offset + headerLength <= end else { throw .badDataOffset }
    sourcePort = packet.uint16(at: offset)
    destinationPort = packet.uint16(at: offset + 2)
    sequence = packet.uint32(at: offset + 4)
    acknowledgement = packet.uint32(at: offset + 8)
    flags = TCPFlags(rawValue: packet[offset + 13])
    window = packet.uint16(at: offset + 14)
    urgentPointer = packet.uint16(at: offset + 18)
    options = TCPOptions(packet, at: offset, headerLength: headerLength)
  }
}
