/// A TCP segment as the ends of a ``Bench`` make and read it.
struct Segment {
  /// Shift of the windows that both ends announce (RFC 7323).
  static let windowScale = 14
  /// Octets of payload that one takes.
  static let largest = 65_000

  var isToServer: Bool
  var sequence: UInt32
  var acknowledgement: UInt32 = 0
  var flags: Packet.Flags
  /// As in the header, scaled.
  var window: UInt16 = 65_535
  var payload: [UInt8] = []

  static let client: (address: String, port: UInt16) = ("10.0.0.1", 40_000)
  static let server: (address: String, port: UInt16) = ("10.0.0.2", 80)

  init(
    isToServer: Bool, sequence: UInt32, acknowledgement: UInt32 = 0, flags: Packet.Flags,
    payload: some Collection<UInt8> = []
  ) {
    self.isToServer = isToServer
    self.sequence = sequence
    self.acknowledgement = acknowledgement
    self.flags = flags
    self.payload = Array(payload)
  }

  init(_ packet: Packet) {
    isToServer = packet.destinationPort == Self.server.port
    sequence = packet.sequence
    acknowledgement = packet.acknowledgement
    flags = packet.flags
    window = packet.window
    payload = Array(packet.payload)
  }

  var packet: Packet {
    let (source, destination) = isToServer ? (Self.client, Self.server) : (Self.server, Self.client)
    // Maximum segment size, and window scale.
    let options: [UInt8] =
      flags.contains(.syn) ? [2, 4] + Packet.octets(UInt16(Self.largest)) + [3, 3, UInt8(Self.windowScale)] : []
    return .tcp(
      source.address, source.port, to: destination.address, destination.port, flags: flags, sequence: sequence,
      acknowledgement: acknowledgement, window: window, options: options, payload: payload)
  }
}
