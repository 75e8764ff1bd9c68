/// Which packets belong to a flow: values, with or without masks, for some of the fields of a packet.
///
/// The text is `key=value` joined by commas, with the canonical names of OXM, their Open vSwitch aliases and the
/// keywords `ip ipv6 tcp tcp6 udp udp6 icmp icmp6 any`, in any order:
///
///     tcp,ipv4_src=10.0.0.0/8,tcp_dst=80-90
///     ip_proto=6,tcp_src=443
///
/// - `ip_proto=N`, `ip_dscp=N` and `ip_ecn=N` without a family mean both; every other field asks for its family or
///   protocol.
/// - Addresses, ports, `vlan_vid` and `pkt_mark` take `/mask`, IP addresses also `/prefix`, ports also `first-last`.
///   Bits beneath a mask are cleared, as Open vSwitch and iptables do.
/// - `vlan_vid=N` is a tagged packet of that VLAN, `vlan_vid=0x1000/0x1000` any tagged one, `vlan_vid=0/0x1000`
///   (or `dl_vlan=0xffff`) an untagged one.
/// - A fragment has no ports, and a packet without a known link-layer source no `eth_src`: a match on these passes it
///   by.
public struct Match: Hashable, Sendable, CustomStringConvertible {
  /// The bits that must be, where `mask` has ones; ports aside.
  var value = FlowKey.zero
  var mask = FlowKey.zero
  var sourcePorts: PortSet?
  var destinationPorts: PortSet?
  /// The interface's name, where it was given by name.
  var inPortName: String?

  /// Matches everything.
  public static let any = Match()

  /// Reads a match.
  ///
  /// - Parameter resolve: The index of the interface of a name, or nil where there is none. It is asked once, now; the
  ///   description keeps the name.
  public init(parsing text: String, portNamed resolve: (String) -> UInt32?) throws(MatchError) {
    var parser = MatchParser(text)
    self = try parser.parse(portNamed: resolve)
  }

  init() {}

  /// The canonical text: keyword first, then fields by their canonical names in the order of OXM. It parses back to
  /// an equal match.
  public var description: String {
    let etherType = self[.etherType].map { UInt16($0.value) }
    let protocolNumber = self[.protocolNumber].map { UInt8($0.value) }
    var terms: [String] = []
    let keywords = MatchKeyword.all.filter { $0.etherType == etherType }
    if let keyword = keywords.first(where: { $0.protocolNumber == protocolNumber }) {
      terms.append(keyword.name)
    } else {
      if let keyword = keywords.first {
        terms.append(keyword.name)
      } else if let etherType {
        terms.append("eth_type=" + hexadecimal(UInt64(etherType)))
      }
      if let protocolNumber { terms.append("ip_proto=\(protocolNumber)") }
    }
    for field in MatchField.allCases where field != .etherType && field != .protocolNumber {
      if let text = text(of: field, etherType, protocolNumber) { terms.append(field.rawValue + "=" + text) }
    }
    return terms.isEmpty ? "any" : terms.joined(separator: ",")
  }

  /// The value of `field`, where the match names it; a field that another one shares its place with belongs to
  /// neither family or protocol but its own.
  private func text(of field: MatchField, _ etherType: UInt16?, _ protocolNumber: UInt8?) -> String? {
    if let required = field.requiredEtherType, required != etherType { return nil }
    if let required = field.requiredProtocol, required != protocolNumber { return nil }
    switch field {
    case .tcpSource, .udpSource: return sourcePorts?.description
    case .tcpDestination, .udpDestination: return destinationPorts?.description
    case .ipv6Source, .ipv6Destination: return ipv6Text(word: field.place.word)
    default: break
    }
    guard let (value, mask) = self[field] else { return nil }
    let isExact = mask == field.maximum
    switch field {
    case .inPort: return inPortName ?? "\(value)"
    case .ethernetSource: return ethernet(value) + (isExact ? "" : "/" + ethernet(mask))
    case .vlan where isExact && value & 0x1000 != 0: return "\(value & 0xfff)"
    case .vlan: return hexadecimal(value) + "/" + hexadecimal(mask)
    case .mark: return hexadecimal(value) + (isExact ? "" : "/" + hexadecimal(mask))
    case .ipv4Source, .ipv4Destination:
      let prefix = UInt32(mask).leadingOnes
      let address = IPAddress(v4: UInt32(value)).description
      guard mask == UInt64(UInt32.max << UInt32(32 - prefix)) else {
        return address + "/" + IPAddress(v4: UInt32(mask)).description
      }
      return isExact ? address : "\(address)/\(prefix)"
    default: return "\(value)"
    }
  }

  private func ipv6Text(word: Int) -> String? {
    let mask = IPAddress(high: mask.words[word], low: mask.words[word + 1])
    guard mask.high != 0 || mask.low != 0 else { return nil }
    let address = IPAddress(high: value.words[word], low: value.words[word + 1]).ipv6Description
    let prefix = mask.high == .max ? 64 + mask.low.leadingOnes : mask.high.leadingOnes
    guard mask == .ipv6Mask(prefix: prefix) else { return address + "/" + mask.ipv6Description }
    return prefix == 128 ? address : "\(address)/\(prefix)"
  }

  /// Value and mask of a field of up to 64 bits, shifted down; nil where the match does not name it.
  subscript(field: MatchField) -> (value: UInt64, mask: UInt64)? {
    let place = field.place
    let bits = mask.words[place.word] >> place.shift & field.maximum
    return bits == 0 ? nil : (value.words[place.word] >> place.shift & bits, bits)
  }

  /// Makes the match ask for `value` under `mask`; a mask of zero asks for nothing.
  mutating func require(_ field: MatchField, _ value: UInt64, mask bits: UInt64) {
    guard bits != 0 else { return }
    let place = field.place
    self.value.words[place.word] |= (value & bits) << place.shift
    mask.words[place.word] |= bits << place.shift
    self.value.words[7] |= place.presence
    mask.words[7] |= place.presence
  }

  /// Whether it takes packets of ICMP, which may be errors about any connection.
  var mayBeError: Bool {
    self[.protocolNumber].map { [ProtocolNumber.icmp, ProtocolNumber.icmpv6].contains(UInt8($0.value)) } ?? true
  }

  /// The match as values and masks of keys; several where a range of ports takes more than one prefix.
  var keys: [(value: FlowKey, mask: FlowKey)] {
    let everything: [(value: UInt16, mask: UInt16)] = [(0, 0)]
    return (sourcePorts?.prefixes ?? everything).flatMap { source in
      (destinationPorts?.prefixes ?? everything).map { destination in
        var match = self
        match.require(.tcpSource, UInt64(source.value), mask: UInt64(source.mask))
        match.require(.tcpDestination, UInt64(destination.value), mask: UInt64(destination.mask))
        return (match.value, match.mask)
      }
    }
  }
}

extension FixedWidthInteger {
  /// How many of the most significant bits are ones.
  fileprivate var leadingOnes: Int { (~self).leadingZeroBitCount }
}

extension IPAddress {
  /// The mask of the first `prefix` bits, 0 to 128.
  static func ipv6Mask(prefix: Int) -> IPAddress {
    // Swift's shifts by 64 and more leave zero.
    IPAddress(high: prefix == 0 ? 0 : .max << UInt64(max(64 - prefix, 0)), low: .max << UInt64(128 - max(prefix, 64)))
  }
}

private func hexadecimal(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

private func ethernet(_ address: UInt64) -> String {
  (0..<6).map { index in
    let octet = String(address >> UInt64(40 - index * 8) & 0xff, radix: 16)
    return octet.count == 1 ? "0" + octet : octet
  }.joined(separator: ":")
}
