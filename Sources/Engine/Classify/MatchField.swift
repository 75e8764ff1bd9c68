/// A field that a match can name, by its OXM name (OpenFlow Switch Specification 1.5.1 section 7.2.3.7); `ipv4` and
/// `ipv6` fields share their place in the key, as do those of the transports.
enum MatchField: String, CaseIterable, Sendable {
  case inPort = "in_port"
  case ethernetSource = "eth_src"
  case etherType = "eth_type"
  case vlan = "vlan_vid"
  case protocolNumber = "ip_proto"
  case dscp = "ip_dscp"
  case ecn = "ip_ecn"
  case ipv4Source = "ipv4_src"
  case ipv4Destination = "ipv4_dst"
  case ipv6Source = "ipv6_src"
  case ipv6Destination = "ipv6_dst"
  case tcpSource = "tcp_src"
  case tcpDestination = "tcp_dst"
  case udpSource = "udp_src"
  case udpDestination = "udp_dst"
  case icmpv4Type = "icmpv4_type"
  case icmpv4Code = "icmpv4_code"
  case icmpv6Type = "icmpv6_type"
  case icmpv6Code = "icmpv6_code"
  case mark = "pkt_mark"

  /// Where a field of up to 64 bits lies in the key, and the presence bit that goes with it; for a 128-bit address,
  /// its first word.
  var place: (word: Int, shift: UInt64, width: UInt64, presence: UInt64) {
    switch self {
    case .inPort: (0, 32, 32, 0)
    case .mark: (0, 0, 32, 0)
    case .ethernetSource: (1, 16, 48, FlowKey.Presence.ethernetSource)
    case .etherType: (1, 0, 16, 0)
    case .vlan: (2, 48, 13, 0)
    case .protocolNumber: (2, 40, 8, 0)
    case .dscp: (2, 34, 6, 0)
    case .ecn: (2, 32, 2, 0)
    case .ipv4Source: (4, 0, 32, 0)
    case .ipv4Destination: (6, 0, 32, 0)
    case .ipv6Source: (3, 0, 64, 0)
    case .ipv6Destination: (5, 0, 64, 0)
    case .tcpSource, .udpSource: (2, 16, 16, FlowKey.Presence.ports)
    case .tcpDestination, .udpDestination: (2, 0, 16, FlowKey.Presence.ports)
    case .icmpv4Type, .icmpv6Type: (2, 16, 8, FlowKey.Presence.icmp)
    case .icmpv4Code, .icmpv6Code: (2, 0, 8, FlowKey.Presence.icmp)
    }
  }

  /// The largest value.
  var maximum: UInt64 { place.width == 64 ? .max : 1 << place.width - 1 }

  /// The Ethernet type that the field asks for.
  var requiredEtherType: UInt16? {
    switch self {
    case .ipv4Source, .ipv4Destination: EtherType.ipv4
    case .ipv6Source, .ipv6Destination: EtherType.ipv6
    default: nil
    }
  }

  /// The IP protocol that the field asks for.
  var requiredProtocol: UInt8? {
    switch self {
    case .tcpSource, .tcpDestination: ProtocolNumber.tcp
    case .udpSource, .udpDestination: ProtocolNumber.udp
    case .icmpv4Type, .icmpv4Code: ProtocolNumber.icmp
    case .icmpv6Type, .icmpv6Code: ProtocolNumber.icmpv6
    default: nil
    }
  }

  /// Whether the field is one of an IP header of either family.
  var isOfAnyIP: Bool { self == .protocolNumber || self == .dscp || self == .ecn }

  /// The fields that `name` can mean, by what the protocol turns out to be: several for `tp_src` and the like. `nil`
  /// where no field is called that.
  static func named(_ name: String) -> [MatchField]? {
    MatchField(rawValue: name).map { [$0] } ?? aliases[name]
  }

  /// Names of Open vSwitch (ovs-fields(7)) for the same fields. `nw_tos` is the DSCP two bits up; see ``MatchParser``.
  static let aliases: [String: [MatchField]] = [
    "dl_src": [.ethernetSource], "dl_type": [.etherType], "dl_vlan": [.vlan],
    "nw_proto": [.protocolNumber], "nw_tos": [.dscp], "nw_ecn": [.ecn],
    "nw_src": [.ipv4Source], "nw_dst": [.ipv4Destination], "ip_src": [.ipv4Source], "ip_dst": [.ipv4Destination],
    "tp_src": [.tcpSource, .udpSource], "tp_dst": [.tcpDestination, .udpDestination],
    "icmp_type": [.icmpv4Type, .icmpv6Type], "icmp_code": [.icmpv4Code, .icmpv6Code],
  ]
}

/// A word that stands for an Ethernet type and an IP protocol.
struct MatchKeyword: Sendable {
  let name: String
  let etherType: UInt16
  let protocolNumber: UInt8?

  static let all = [
    MatchKeyword(name: "ip", etherType: EtherType.ipv4, protocolNumber: nil),
    MatchKeyword(name: "ipv6", etherType: EtherType.ipv6, protocolNumber: nil),
    MatchKeyword(name: "tcp", etherType: EtherType.ipv4, protocolNumber: ProtocolNumber.tcp),
    MatchKeyword(name: "tcp6", etherType: EtherType.ipv6, protocolNumber: ProtocolNumber.tcp),
    MatchKeyword(name: "udp", etherType: EtherType.ipv4, protocolNumber: ProtocolNumber.udp),
    MatchKeyword(name: "udp6", etherType: EtherType.ipv6, protocolNumber: ProtocolNumber.udp),
    MatchKeyword(name: "icmp", etherType: EtherType.ipv4, protocolNumber: ProtocolNumber.icmp),
    MatchKeyword(name: "icmp6", etherType: EtherType.ipv6, protocolNumber: ProtocolNumber.icmpv6),
  ]
}
