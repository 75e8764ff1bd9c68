import ModuleTesting

/// An end's address and port.
struct Address {
  var host: String
  var port: UInt16
  var isIPv6: Bool { host.contains(":") }
}

extension Packet {
  init(
    _ source: Address, _ destination: Address, sequence: UInt32, acknowledgement: UInt32, flags: Flags, window: UInt16,
    options: [UInt8] = [], payload: [UInt8] = []
  ) {
    self = .tcp(
      source.host, source.port, to: destination.host, destination.port, flags: flags, sequence: sequence,
      acknowledgement: acknowledgement, window: window, options: options, payload: payload)
  }

  /// A router's ICMP message for the source of `segment`.
  init(router segment: Packet, message: [UInt8]) {
    self =
      segment.isIPv6
      ? .ip("909::9", to: segment.source, 58, payload: message)
      : .ip("9.9.9.9", to: segment.source, 1, payload: message)
  }

  /// Whether it is a segment with its lengths and checksums right.
  var isWellFormed: Bool { fault == nil && protocolNumber == 6 }
}
