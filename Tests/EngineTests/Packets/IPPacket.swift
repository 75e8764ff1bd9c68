@testable import Engine

/// Packets other than TCP, as bytes with every checksum right, made by the rules of the RFCs and not by the code under test.
enum IPPacket {
  static func udp(
    from source: Endpoint, to destination: Endpoint, _ payload: [UInt8], hasChecksum: Bool = true
  ) -> TCPPacket {
    var datagram =
      PacketBytes.octets(source.port) + PacketBytes.octets(destination.port)
      + PacketBytes.octets(UInt16(8 + payload.count)) + [0, 0] + payload
    if hasChecksum {
      let checksum = PacketBytes.naiveChecksum(pseudo(source, destination, 17, datagram.count) + datagram)
      datagram.replaceSubrange(6..<8, with: PacketBytes.octets(checksum == 0 ? 0xffff : checksum))
    }
    return packet(from: source.address, to: destination.address, 17, datagram)
  }

  /// An ICMP or ICMPv6 message of `rest` behind its type, code and checksum.
  static func icmp(
    from source: IPAddress, to destination: IPAddress, type: UInt8, code: UInt8 = 0, _ rest: [UInt8]
  ) -> TCPPacket {
    var message = [type, code, 0, 0] + rest
    let isIPv6 = !source.isIPv4
    let ends = (Endpoint(address: source, port: 0), Endpoint(address: destination, port: 0))
    let covered = (isIPv6 ? pseudo(ends.0, ends.1, 58, message.count) : []) + message
    message.replaceSubrange(2..<4, with: PacketBytes.octets(PacketBytes.naiveChecksum(covered)))
    return packet(from: source, to: destination, isIPv6 ? 58 : 1, message)
  }

  static func octets(_ address: IPAddress) -> [UInt8] {
    if address.isIPv4 { return PacketBytes.octets(UInt32(truncatingIfNeeded: address.low)) }
    return [address.high, address.low].flatMap { word in (0..<8).map { UInt8(word >> (56 - 8 * $0) & 0xff) } }
  }

  private static func pseudo(_ source: Endpoint, _ destination: Endpoint, _ number: UInt8, _ count: Int) -> [UInt8] {
    octets(source.address) + octets(destination.address) + [0, number] + PacketBytes.octets(UInt16(count))
  }

  static func packet(
    from source: IPAddress, to destination: IPAddress, _ number: UInt8, _ payload: [UInt8], fragmentation: UInt16 = 0
  ) -> TCPPacket {
    var header: [UInt8]
    if source.isIPv4 {
      header = [0x45, 0] + PacketBytes.octets(UInt16(20 + payload.count)) + [0x12, 0x34]
      header += PacketBytes.octets(fragmentation) + [64, number, 0, 0] + octets(source) + octets(destination)
      header.replaceSubrange(10..<12, with: PacketBytes.octets(PacketBytes.naiveChecksum(header)))
    } else {
      header = [0x60, 0, 0, 0] + PacketBytes.octets(UInt16(payload.count)) + [number, 64]
      header += octets(source) + octets(destination)
    }
    return TCPPacket(header + payload)
  }
}

extension TCPPacket {
  /// Addresses, and ports where there are any, and the payload.
  var line: String {
    guard let headers else { return "malformed" }
    let ports = headers.ports.map { (":\($0.source)", ":\($0.destination)") } ?? ("", "")
    let kind =
      switch headers.transport {
      case .tcp: "tcp"
      case .udp: "udp"
      case .icmp(let icmp): "icmp \(icmp.type)/\(icmp.code)"
      case .fragment: "fragment"
      case .other(let number): "\(number)"
      }
    return "\(headers.ip.source)\(ports.0) > \(headers.ip.destination)\(ports.1) \(kind)"
  }
}
