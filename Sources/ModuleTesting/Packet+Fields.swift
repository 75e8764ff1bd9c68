import Engine

/// Its fields, for whoever knows what it is: asking for one that it does not have ends the test.
extension Packet {
  public var isIPv6: Bool { octets[0] >> 4 == 6 }
  public var source: String { address(isIPv6 ? 8 : 12) }
  public var destination: String { address(isIPv6 ? 24 : 16) }
  /// What follows the IP header and all extension headers.
  public var protocolNumber: UInt8 { layout.protocolNumber }
  /// Of TCP and UDP.
  public var sourcePort: UInt16 { octets.word(layout.transport) }
  public var destinationPort: UInt16 { octets.word(layout.transport + 2) }
  /// Of TCP.
  public var sequence: UInt32 { octets.doubleWord(layout.transport + 4) }
  public var acknowledgement: UInt32 { octets.doubleWord(layout.transport + 8) }
  public var flags: Flags { Flags(rawValue: octets[layout.transport + 13]) }
  public var window: UInt16 { octets.word(layout.transport + 14) }
  /// What TCP or UDP carries, of ICMP what stands behind the first eight octets, of all else what stands behind the IP header.
  public var payload: ArraySlice<UInt8> { octets[layout.payload..<layout.end] }

  /// Where the payload begins.
  public var payloadOffset: Int { layout.payload }

  private var layout: PacketLayout {
    guard let layout = PacketLayout(octets) else { preconditionFailure("the headers make no sense: \(octets)") }
    return layout
  }

  private func address(_ offset: Int) -> String {
    guard isIPv6 else { return IPAddress(v4: octets.doubleWord(offset)).description }
    let words = [0, 8].map { part in octets[(offset + part)...].prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) } }
    return IPAddress(high: words[0], low: words[1]).description
  }
}

extension Packet: CustomStringConvertible {
  /// Ends and protocol, as `10.0.0.5:1 > [fd00::1]:53 udp`, of an ICMP error also what it quotes; and its ``fault``.
  public var description: String { text(isQuoted: false) + (fault.map { " (\($0))" } ?? "") }

  private func text(isQuoted: Bool) -> String {
    guard let layout = PacketLayout(octets, isQuoted: isQuoted) else { return "\(octets.count) octets" }
    let hasPorts =
      !layout.isFragment && !layout.isRouted && [6, 17].contains(layout.protocolNumber)
      && layout.transport + 4 <= octets.count
    func end(_ address: String, _ port: Int) -> String {
      guard hasPorts else { return address }
      return (isIPv6 ? "[\(address)]:" : "\(address):") + "\(octets.word(layout.transport + port))"
    }
    return "\(end(source, 0)) > \(end(destination, 2)) \(kind(layout))"
  }

  private func kind(_ layout: PacketLayout) -> String {
    if layout.isFragment { return "fragment" }
    guard !layout.isRouted else { return "\(layout.protocolNumber)" }
    switch layout.protocolNumber {
    case 6: return "tcp"
    case 17: return "udp"
    case isIPv6 ? 58 : 1:
      let type = octets[layout.transport]
      if (isIPv6 ? [128, 129] : [0, 8]).contains(type) { return "echo \(octets.word(layout.transport + 4))" }
      guard isIPv6 ? (1...4).contains(type) : [3, 4, 5, 11, 12].contains(type) else { return "icmp \(type)" }
      return "error (\(Packet(Array(octets[layout.payload...])).text(isQuoted: true)))"
    default: return "\(layout.protocolNumber)"
    }
  }
}
