/// A datagram of UDP in an IPv4 packet, between the ends of a ``Bench``.
struct Datagram {
  let isToServer: Bool
  let payload: [UInt8]

  init(isToServer: Bool, payload: [UInt8]) {
    self.isToServer = isToServer
    self.payload = payload
  }

  /// Reads an IPv4 packet without IP options.
  init(packet: [UInt8]) {
    isToServer = Array(packet[16..<20]) == octets(Segment.server.address)
    payload = Array(packet[28...])
  }

  /// The packet, its checksums left out.
  var packet: [UInt8] {
    let (source, destination) = isToServer ? (Segment.client, Segment.server) : (Segment.server, Segment.client)
    var packet: [UInt8] = [0x45, 0] + octets(UInt16(28 + payload.count)) + [0, 0, 0x40, 0, 64, 17, 0, 0]
    packet += octets(source.address) + octets(destination.address) + octets(source.port) + octets(destination.port)
    return packet + octets(UInt16(8 + payload.count)) + [0, 0] + payload
  }
}
