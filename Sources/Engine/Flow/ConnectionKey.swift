/// The two ends of a TCP connection, in an order that does not depend on the direction of the packet.
struct ConnectionKey: Hashable, Sendable {
  let lower: Endpoint
  let upper: Endpoint

  init(_ one: Endpoint, _ other: Endpoint) {
    if one.isOrdered(before: other) {
      lower = one
      upper = other
    } else {
      lower = other
      upper = one
    }
  }

  /// Of IPv4 two words are hashed, and not six: each packet is looked up by it.
  func hash(into hasher: inout Hasher) {
    if lower.address.isIPv4, upper.address.isIPv4 {
      hasher.combine(lower.address.low << 32 | upper.address.low & 0xffff_ffff)
    } else {
      hasher.combine(lower.address.high)
      hasher.combine(lower.address.low)
      hasher.combine(upper.address.high)
      hasher.combine(upper.address.low)
    }
    hasher.combine(UInt64(lower.port) << 16 | UInt64(upper.port))
  }
}

/// An address with a port.
struct Endpoint: Hashable, Sendable {
  var address: IPAddress
  var port: UInt16

  func isOrdered(before other: Endpoint) -> Bool {
    if address.high != other.address.high { return address.high < other.address.high }
    if address.low != other.address.low { return address.low < other.address.low }
    return port < other.port
  }
}

/// Which way a packet of a connection goes. The client is who sent the first SYN.
enum Direction: Int, Sendable, CaseIterable {
  case toServer = 0
  case toClient = 1

  var opposite: Direction { self == .toServer ? .toClient : .toServer }
}
