/// The fields of one packet that a ``Match`` can name, packed into 512 bits so that masking and comparing is a few
/// instructions.
///
///     word 0   in_port 32 | pkt_mark 32
///     word 1   eth_src 48 | eth_type 16
///     word 2   vlan_vid 16 (bit 12: tagged) | ip_proto 8 | traffic class 8
///              | source port or ICMP type 16 | destination port or ICMP code 16
///     word 3-4 source address        word 5-6 destination address
///     word 7   which fields the packet has (``Presence``)
///
/// A field that the packet does not have is zero; word 7 keeps it apart from one that is zero.
struct FlowKey: Hashable, Sendable {
  var words: SIMD8<UInt64>

  /// Bits of word 7. A match on such a field asks for its bit too.
  enum Presence {
    static let ethernetSource: UInt64 = 1
    static let ports: UInt64 = 2
    static let icmp: UInt64 = 4
  }

  /// The key, or the mask, without any bit set.
  static let zero = FlowKey(words: SIMD8())

  init(words: SIMD8<UInt64>) { self.words = words }

  init(_ headers: PacketHeaders, _ metadata: PacketMetadata) {
    let ip = headers.ip
    var presence: UInt64 = metadata.ethernetSource == nil ? 0 : Presence.ethernetSource
    var transport: UInt64 = 0
    switch headers.transport {
    case .tcp(let tcp):
      transport = UInt64(tcp.sourcePort) << 16 | UInt64(tcp.destinationPort)
      presence |= Presence.ports
    case .udp(let udp):
      transport = UInt64(udp.sourcePort) << 16 | UInt64(udp.destinationPort)
      presence |= Presence.ports
    case .icmp(let icmp):
      transport = UInt64(icmp.type) << 16 | UInt64(icmp.code)
      presence |= Presence.icmp
    case .fragment, .other: break
    }
    let vlan = metadata.vlan.map { UInt64($0 & 0xfff | 0x1000) } ?? 0
    words = SIMD8(
      UInt64(metadata.inPort) << 32 | UInt64(metadata.mark),
      (metadata.ethernetSource ?? 0) << 16 | UInt64(ip.isIPv6 ? EtherType.ipv6 : EtherType.ipv4),
      vlan << 48 | UInt64(ip.protocolNumber) << 40 | UInt64(ip.trafficClass) << 32 | transport,
      ip.source.high, ip.source.low, ip.destination.high, ip.destination.low, presence)
  }

  /// Who sent the packet, and to whom.
  var ends: (source: Endpoint, destination: Endpoint) {
    let ports = words[7] & Presence.ports != 0 ? words[2] : 0
    return (
      Endpoint(
        address: IPAddress(high: words[3], low: words[4]), port: UInt16(truncatingIfNeeded: ports >> 16)),
      Endpoint(address: IPAddress(high: words[5], low: words[6]), port: UInt16(truncatingIfNeeded: ports))
    )
  }

  /// The key of a packet of the peer direction: addresses and ports exchanged, everything else kept.
  func reversed() -> FlowKey {
    var reversed = FlowKey(words: words)
    reversed.words[3] = words[5]
    reversed.words[4] = words[6]
    reversed.words[5] = words[3]
    reversed.words[6] = words[4]
    if words[7] & Presence.ports != 0 {
      let (source, destination) = (words[2] >> 16 & 0xffff, words[2] & 0xffff)
      reversed.words[2] = words[2] & ~0xffff_ffff | destination << 16 | source
    }
    return reversed
  }

  /// The key, or the mask, without what only the link and the marking tell, which the two directions need not have in
  /// common: `in_port`, `eth_src`, `vlan_vid`, `pkt_mark`, `ip_dscp` and `ip_ecn`.
  var withoutLink: FlowKey {
    let rest = SIMD8<UInt64>(
      0, 0xffff, 0x0000_ff00_ffff_ffff, .max, .max, .max, .max, ~Presence.ethernetSource)
    return masked(by: FlowKey(words: rest))
  }

  @inline(__always) func masked(by mask: FlowKey) -> FlowKey { FlowKey(words: words & mask.words) }
}

/// Ethernet types (IEEE 802 Numbers).
enum EtherType {
  static let ipv4: UInt16 = 0x0800
  static let ipv6: UInt16 = 0x86dd
}
