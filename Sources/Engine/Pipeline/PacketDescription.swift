/// The headers of a packet, as a module of the layers `ip` and `tcp` finds them in its ``Window``.
public struct PacketDescription: Sendable {
  public let isIPv6: Bool
  public let source: IPAddress
  public let destination: IPAddress
  /// What follows the last IP header: 6 TCP, 17 UDP, 1 ICMP, 58 ICMPv6 (IANA, Protocol Numbers).
  public let protocolNumber: UInt8
  /// Whether this is a part of a packet only, so that what stands behind its IP header may be anything.
  public let isFragment: Bool
  /// Where the transport header starts: octets from the start of the window; 0 at the layer `tcp`.
  public let transportOffset: Int
  /// Where the payload of TCP or UDP starts, or what follows the eight octets that all ICMP messages have.
  public let payloadOffset: Int
  /// Ports of TCP and UDP, 0 of others.
  public let sourcePort: UInt16
  public let destinationPort: UInt16
  /// Whether all of its checksums are right, or will be: those that a card is yet to compute count as right.
  public let isSound: Bool
  /// Whether a module sees it as of the peer direction.
  public let isPeer: Bool
}
