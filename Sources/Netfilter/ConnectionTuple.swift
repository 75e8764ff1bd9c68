import CNetfilter
import Glibc

/// The addresses and ports of one direction of a TCP connection, as numbers.
public struct ConnectionTuple: Sendable, Equatable {
  public let isIPv6: Bool
  /// The address's octets read as one big-endian number; an IPv4 address takes the low 32 bits.
  public let source: UInt128
  public let sourcePort: UInt16
  /// As ``source``.
  public let destination: UInt128
  public let destinationPort: UInt16

  public init(isIPv6: Bool, source: UInt128, sourcePort: UInt16, destination: UInt128, destinationPort: UInt16) {
    self.isIPv6 = isIPv6
    self.source = source
    self.sourcePort = sourcePort
    self.destination = destination
    self.destinationPort = destinationPort
  }

  /// The other direction.
  public var reversed: ConnectionTuple {
    ConnectionTuple(
      isIPv6: isIPv6, source: destination, sourcePort: destinationPort, destination: source, destinationPort: sourcePort
    )
  }

  /// Appends it to a ctnetlink message, as a nest of addresses and a nest of protocol and ports.
  func put(in header: UnsafeMutablePointer<nlmsghdr>, as attribute: ctattr_type) {
    let tuple = unsafe mnl_attr_nest_start(header, UInt16(attribute.rawValue))
    let addresses = unsafe mnl_attr_nest_start(header, UInt16(CTA_TUPLE_IP.rawValue))
    unsafe putAddress(source, in: header, as: isIPv6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC)
    unsafe putAddress(destination, in: header, as: isIPv6 ? CTA_IP_V6_DST : CTA_IP_V4_DST)
    unsafe mnl_attr_nest_end(header, addresses)
    let ports = unsafe mnl_attr_nest_start(header, UInt16(CTA_TUPLE_PROTO.rawValue))
    unsafe mnl_attr_put_u8(header, UInt16(CTA_PROTO_NUM.rawValue), UInt8(IPPROTO_TCP))
    unsafe mnl_attr_put_u16(header, UInt16(CTA_PROTO_SRC_PORT.rawValue), sourcePort.bigEndian)
    unsafe mnl_attr_put_u16(header, UInt16(CTA_PROTO_DST_PORT.rawValue), destinationPort.bigEndian)
    unsafe mnl_attr_nest_end(header, ports)
    unsafe mnl_attr_nest_end(header, tuple)
  }

  private func putAddress(_ address: UInt128, in header: UnsafeMutablePointer<nlmsghdr>, as attribute: ctattr_ip) {
    if isIPv6 {
      var octets = address.bigEndian
      unsafe mnl_attr_put(header, UInt16(attribute.rawValue), 16, &octets)
    } else {
      unsafe mnl_attr_put_u32(header, UInt16(attribute.rawValue), UInt32(truncatingIfNeeded: address).bigEndian)
    }
  }
}
