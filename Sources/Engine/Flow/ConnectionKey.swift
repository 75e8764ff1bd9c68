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
