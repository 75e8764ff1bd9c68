import Engine

/// A packet: its octets from the IP header on.
///
///     let question = Packet.udp("10.0.0.5", 40_000, to: "192.0.2.1", 53, payload: [1, 2, 3])
///     let broken = Packet([0x45, 0, 0, 20])
///
/// Made and read by the RFCs and without the engine's help, so that the engine is not checked against itself. What is made here has
/// its lengths and checksums right.
public struct Packet: Hashable, Sendable {
  public var octets: [UInt8]

  /// - Parameter octets: anything.
  public init(_ octets: [UInt8]) { self.octets = octets }

  /// Flags of TCP (RFC 9293 section 3.1).
  public struct Flags: OptionSet, Hashable, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public static let fin = Flags(rawValue: 1)
    public static let syn = Flags(rawValue: 2)
    public static let rst = Flags(rawValue: 4)
    public static let psh = Flags(rawValue: 8)
    public static let ack = Flags(rawValue: 16)
    public static let urg = Flags(rawValue: 32)
  }

  // MARK: Making

  /// A packet of IPv4 or IPv6, as its addresses are.
  ///
  /// - Parameters:
  ///   - protocolNumber: what follows the IP header (IANA, Protocol Numbers); in IPv6 it may be an extension header.
  ///   - payload: all behind the IP header. A checksum of TCP, UDP or ICMP in it is set.
  public static func ip(
    _ source: String, to destination: String, _ protocolNumber: UInt8, payload: [UInt8]
  ) -> Packet {
    var packet = Packet([])
    packet.octets = header(source, destination, protocolNumber, payload.count) + payload
    packet.setChecksums()
    return packet
  }

  /// A segment of TCP (RFC 9293).
  ///
  /// - Parameter options: padded to whole words.
  public static func tcp(
    _ source: String, _ sourcePort: UInt16, to destination: String, _ destinationPort: UInt16, flags: Flags = .ack,
    sequence: UInt32 = 1, acknowledgement: UInt32 = 2, window: UInt16 = 65_535, options: [UInt8] = [],
    payload: [UInt8] = []
  ) -> Packet {
    let padded = options + [UInt8](repeating: 1, count: (4 - options.count % 4) % 4)
    var segment = octets(sourcePort) + octets(destinationPort) + octets(sequence) + octets(acknowledgement)
    segment += [UInt8(20 + padded.count) << 2, flags.rawValue] + octets(window) + [0, 0, 0, 0] + padded + payload
    return ip(source, to: destination, 6, payload: segment)
  }

  /// A datagram of UDP (RFC 768).
  public static func udp(
    _ source: String, _ sourcePort: UInt16, to destination: String, _ destinationPort: UInt16,
    payload: [UInt8] = [1, 2, 3, 4]
  ) -> Packet {
    ip(
      source, to: destination, 17,
      payload: octets(sourcePort) + octets(destinationPort) + octets(UInt16(8 + payload.count)) + [0, 0] + payload)
  }

  /// An echo request of ICMP (RFC 792, RFC 4443), or the reply to one.
  public static func echo(
    _ source: String, to destination: String, _ identifier: UInt16, sequence: UInt16 = 1, isReply: Bool = false,
    payload: [UInt8] = [9, 9]
  ) -> Packet {
    let isIPv6 = source.contains(":")
    let type: UInt8 = isIPv6 ? (isReply ? 129 : 128) : (isReply ? 0 : 8)
    return ip(
      source, to: destination, isIPv6 ? 58 : 1,
      payload: [type, 0, 0, 0] + octets(identifier) + octets(sequence) + payload)
  }

  /// The ICMP error "port unreachable" about `packet`.
  ///
  /// - Parameter count: octets of it that are quoted, at the most.
  public static func unreachable(
    _ source: String, to destination: String, about packet: Packet, quoting count: Int = 1_000
  ) -> Packet {
    let isIPv6 = source.contains(":")
    return ip(
      source, to: destination, isIPv6 ? 58 : 1,
      payload: (isIPv6 ? [1, 4] : [3, 3]) + [0, 0, 0, 0, 0, 0] + packet.octets.prefix(count))
  }

  private static func header(
    _ source: String, _ destination: String, _ protocolNumber: UInt8, _ count: Int
  ) -> [UInt8] {
    let ends = [source, destination].map(address)
    precondition(ends[0].count == ends[1].count, "\(source) and \(destination) are of one family")
    let isIPv6 = ends[0].count == 16
    precondition(count + (isIPv6 ? 0 : 20) <= UInt16.max, "a packet has room for \(count) octets")
    let head: [UInt8] =
      isIPv6
      ? [0x60, 0, 0, 0] + octets(UInt16(count)) + [protocolNumber, 64]
      : [0x45, 0] + octets(UInt16(20 + count)) + [0, 0, 0x40, 0, 64, protocolNumber, 0, 0]
    return head + ends[0] + ends[1]
  }

  private static func address(_ text: String) -> [UInt8] {
    guard let address = IPAddress(text) else { preconditionFailure("'\(text)' is an address") }
    let octets = [address.high, address.low].flatMap { word in (0..<8).map { UInt8(word >> (56 - 8 * $0) & 0xff) } }
    return address.isIPv4 ? Array(octets.suffix(4)) : octets
  }

  /// A number in the order of the network.
  public static func octets(_ number: UInt16) -> [UInt8] { [UInt8(number >> 8), UInt8(number & 0xff)] }
  public static func octets(_ number: UInt32) -> [UInt8] {
    octets(UInt16(number >> 16)) + octets(UInt16(number & 0xffff))
  }
}
