/// Why a text is no match, in one sentence: what is wrong, where, and the mend.
public struct MatchError: Error, Hashable, Sendable, CustomStringConvertible {
  public let description: String

  init(_ description: String) { self.description = description }
}

/// Reads the text of a ``Match``.
struct MatchParser {
  private struct Term {
    /// As written.
    let text: String
    let name: String
    /// What follows the first `=`.
    let value: String?
  }

  private let text: String
  private var match = Match()
  private var etherType: (value: UInt16, term: String)?
  private var protocolNumber: (value: UInt8, term: String)?
  /// The terms that have named a field or keyword, by its canonical name.
  private var seen: [String: String] = [:]

  init(_ text: String) { self.text = text }

  mutating func parse(portNamed resolve: (String) -> UInt32?) throws(MatchError) -> Match {
    let terms = try split()
    if terms.count == 1, terms[0].text == "any" { return match }
    // What the prerequisites are met by first, so that the order of the terms does not matter.
    var others: [(Term, [MatchField])] = []
    for term in terms {
      guard let fields = try fields(of: term) else { continue }
      switch fields {
      case [.etherType]:
        try note(.etherType, term)
        try setEtherType(UInt16(try number(term, .etherType)), term.text)
      case [.protocolNumber]:
        try note(.protocolNumber, term)
        try setProtocol(UInt8(try number(term, .protocolNumber)), term.text)
      default: others.append((term, fields))
      }
    }
    try checkFamily("ip_proto", protocolNumber?.term)
    for (term, fields) in others {
      let field = try choose(fields, term)
      try note(field, term)
      try checkPrerequisites(field, term)
      try set(field, term, resolve)
    }
    if let etherType { match.require(.etherType, UInt64(etherType.value), mask: 0xffff) }
    if let protocolNumber { match.require(.protocolNumber, UInt64(protocolNumber.value), mask: 0xff) }
    return match
  }
}

// MARK: - Terms

extension MatchParser {
  private func split() throws(MatchError) -> [Term] {
    let isSpace = { (character: Character) in character == " " || character == "\t" || character == "\n" }
    var terms: [Term] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      var part = part.drop(while: isSpace)
      while part.last.map(isSpace) == true { part.removeLast() }
      if part.isEmpty {
        throw MatchError(
          terms.isEmpty && !text.contains(",")
            ? "the match is empty; write any to match everything"
            : "the match '\(text)' has an empty term; remove the needless comma")
      }
      let halves = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      terms.append(Term(text: String(part), name: halves[0], value: halves.count == 2 ? halves[1] : nil))
    }
    if terms.count > 1, terms.contains(where: { $0.text == "any" }) {
      throw MatchError("any stands alone; remove it from '\(text)'")
    }
    return terms
  }

  /// The fields that the term can mean; nil for a keyword, which is taken in at once.
  private mutating func fields(of term: Term) throws(MatchError) -> [MatchField]? {
    if let keyword = MatchKeyword.all.first(where: { $0.name == term.name }) {
      guard term.value == nil else {
        throw MatchError(
          "\(keyword.name) is a keyword and takes no value in '\(term.text)'; write \(keyword.name) alone")
      }
      guard seen.updateValue(term.text, forKey: keyword.name) == nil else {
        throw MatchError("\(keyword.name) is given twice; remove one")
      }
      try setEtherType(keyword.etherType, term.text)
      if let number = keyword.protocolNumber { try setProtocol(number, term.text) }
      return nil
    }
    if let reason = Self.invisible(term.name) { throw MatchError("'\(term.text)' cannot be matched: \(reason)") }
    guard let fields = MatchField.named(term.name) else { throw unknown(term) }
    guard let value = term.value, !value.isEmpty else {
      throw MatchError("\(term.name) needs a value, as in \(term.name)=\(Self.example(fields[0]))")
    }
    return fields
  }

  /// Why a field that Open vSwitch has is none here.
  private static func invisible(_ name: String) -> String? {
    switch name {
    case "eth_dst", "dl_dst":
      "NFQUEUE does not show the frame's destination address; match eth_src or in_port instead"
    case "arp", "arp_op", "arp_spa", "arp_tpa", "arp_sha", "arp_tha":
      "NFQUEUE hands over IP packets only; remove it"
    default: nil
    }
  }

  private func unknown(_ term: Term) -> MatchError {
    let names =
      MatchField.allCases.map(\.rawValue) + MatchField.aliases.keys.sorted() + MatchKeyword.all.map(\.name) + ["any"]
    let what = term.value == nil ? "unknown keyword '\(term.name)'" : "unknown field '\(term.name)' in '\(term.text)'"
    let given = Array(term.name.utf8.prefix(64))
    let nearest = names.map { (name: $0, distance: EditDistance.between(given, Array($0.utf8))) }
      .min { $0.distance < $1.distance }
    if let nearest, nearest.distance <= max(1, term.name.count / 3) {
      return MatchError("\(what); did you mean \(nearest.name)?")
    }
    return MatchError(
      "\(what); the fields are \(MatchField.allCases.map(\.rawValue).joined(separator: ", ")), the keywords "
        + "\(MatchKeyword.all.map(\.name).joined(separator: ", ")) and any")
  }

  private static func example(_ field: MatchField) -> String {
    switch field {
    case .inPort: "eth0"
    case .ethernetSource: "02:00:00:00:00:01"
    case .etherType: "0x0800"
    case .vlan: "100"
    case .protocolNumber: "6"
    case .dscp: "46"
    case .ecn: "3"
    case .ipv4Source, .ipv4Destination: "192.0.2.0/24"
    case .ipv6Source, .ipv6Destination: "2001:db8::/32"
    case .tcpSource, .tcpDestination, .udpSource, .udpDestination: "80"
    case .icmpv4Type: "8"
    case .icmpv6Type: "128"
    case .icmpv4Code, .icmpv6Code: "0"
    case .mark: "0x1/0xff"
    }
  }
}

// MARK: - Prerequisites

extension MatchParser {
  private mutating func setEtherType(_ value: UInt16, _ term: String) throws(MatchError) {
    if let etherType, etherType.value != value {
      throw MatchError("\(term) contradicts \(etherType.term): no packet is both; remove one")
    }
    etherType = etherType ?? (value, term)
  }

  private mutating func setProtocol(_ value: UInt8, _ term: String) throws(MatchError) {
    if let protocolNumber, protocolNumber.value != value {
      throw MatchError("\(term) contradicts \(protocolNumber.term): no packet is both; remove one")
    }
    protocolNumber = protocolNumber ?? (value, term)
  }

  private mutating func note(_ field: MatchField, _ term: Term) throws(MatchError) {
    if let earlier = seen.updateValue(term.text, forKey: field.rawValue) {
      throw MatchError("\(term.text) repeats \(field.rawValue), given already in \(earlier); remove one")
    }
  }

  /// A field of an IP header, and an Ethernet type that is not IP.
  private func checkFamily(_ name: String, _ term: String?) throws(MatchError) {
    guard let term, let etherType, etherType.value != EtherType.ipv4, etherType.value != EtherType.ipv6 else { return }
    throw MatchError("\(term) contradicts \(etherType.term): \(name) needs ip or ipv6")
  }

  /// Which field `tp_src` and the like mean here.
  private func choose(_ fields: [MatchField], _ term: Term) throws(MatchError) -> MatchField {
    if fields.count == 1 { return fields[0] }
    if let field = fields.first(where: { $0.requiredProtocol == protocolNumber?.value }) { return field }
    let isPort = term.name.hasPrefix("tp_")
    let needs = isPort ? "tcp, tcp6, udp, udp6, ip_proto=6 or ip_proto=17" : "icmp, icmp6, ip_proto=1 or ip_proto=58"
    if let protocolNumber { throw MatchError("\(term.text) contradicts \(protocolNumber.term): it needs \(needs)") }
    let isIPv6 = etherType?.value == EtherType.ipv6
    throw MatchError("\(term.text) needs \(needs); write \(isPort ? "tcp" : "icmp")\(isIPv6 ? "6" : ""),\(text)")
  }

  private func checkPrerequisites(_ field: MatchField, _ term: Term) throws(MatchError) {
    if field.isOfAnyIP || field.requiredProtocol != nil { try checkFamily(field.rawValue, term.text) }
    if let required = field.requiredEtherType {
      let isIPv6 = required == EtherType.ipv6
      let needs = isIPv6 ? "ipv6, tcp6, udp6, icmp6 or eth_type=0x86dd" : "ip, tcp, udp, icmp or eth_type=0x0800"
      guard let etherType else {
        throw MatchError("\(term.text) needs \(needs); write \(isIPv6 ? "ipv6" : "ip"),\(text)")
      }
      guard etherType.value == required else {
        throw MatchError("\(term.text) contradicts \(etherType.term): it needs \(needs)")
      }
    }
    if let required = field.requiredProtocol {
      let keywords = MatchKeyword.all.filter { $0.protocolNumber == required }
      let needs = keywords.map(\.name).joined(separator: ", ") + " or ip_proto=\(required)"
      guard let protocolNumber else {
        let mend = keywords.first { $0.etherType == etherType?.value } ?? keywords[0]
        throw MatchError("\(term.text) needs \(needs); write \(mend.name),\(text)")
      }
      guard protocolNumber.value == required else {
        throw MatchError("\(term.text) contradicts \(protocolNumber.term): it needs \(needs)")
      }
    }
  }
}

// MARK: - Values

extension MatchParser {
  private mutating func set(
    _ field: MatchField, _ term: Term, _ resolve: (String) -> UInt32?
  ) throws(MatchError) {
    switch field {
    case .inPort: try setInPort(term, resolve)
    case .ethernetSource: try setEthernetSource(term)
    case .vlan: try setVLAN(term)
    case .dscp where term.name == "nw_tos": try setTypeOfService(term)
    case .ipv4Source, .ipv4Destination: try setIPv4(field, term)
    case .ipv6Source, .ipv6Destination: try setIPv6(field, term)
    case .tcpSource, .udpSource:
      let ports = try ports(field, term)
      match.sourcePorts = ports.isEverything ? nil : ports
    case .tcpDestination, .udpDestination:
      let ports = try ports(field, term)
      match.destinationPorts = ports.isEverything ? nil : ports
    case .mark:
      let (value, mask) = try maskedNumber(field, term)
      match.require(field, value, mask: mask ?? field.maximum)
    case .etherType, .protocolNumber, .dscp, .ecn, .icmpv4Type, .icmpv4Code, .icmpv6Type, .icmpv6Code:
      match.require(field, try number(term, field), mask: field.maximum)
    }
  }

  /// Value and mask of `value/mask`.
  private func halves(_ term: Term) -> (value: String, mask: String?) {
    let halves = (term.value ?? "").split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
    return (String(halves[0]), halves.count == 2 ? String(halves[1]) : nil)
  }

  /// A decimal number, or a hexadecimal one behind `0x`.
  private static func number(_ text: some StringProtocol) -> UInt64? {
    guard let first = text.utf8.first, first != UInt8(ascii: "+") else { return nil }
    guard text.hasPrefix("0x") || text.hasPrefix("0X") else { return UInt64(text) }
    let digits = text.dropFirst(2)
    return digits.utf8.first == UInt8(ascii: "+") ? nil : UInt64(digits, radix: 16)
  }

  private func number(_ text: some StringProtocol, _ term: Term, maximum: UInt64) throws(MatchError) -> UInt64 {
    guard let value = Self.number(text) else {
      let isHuge = !text.isEmpty && text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
      if isHuge { throw outOfRange(term, maximum) }
      throw MatchError("'\(text)' in \(term.text) is no number; write one of 0 to \(maximum)")
    }
    guard value <= maximum else { throw outOfRange(term, maximum) }
    return value
  }

  private func outOfRange(_ term: Term, _ maximum: UInt64) -> MatchError {
    MatchError("\(term.text) is out of range; \(term.name) takes 0 to \(maximum)")
  }

  private func number(_ term: Term, _ field: MatchField) throws(MatchError) -> UInt64 {
    let (value, mask) = halves(term)
    guard mask == nil else { throw MatchError("\(term.name) takes no mask; write \(term.name)=\(value)") }
    return try number(value, term, maximum: field.maximum)
  }

  private func maskedNumber(
    _ field: MatchField, _ term: Term
  ) throws(MatchError) -> (value: UInt64, mask: UInt64?) {
    let (value, mask) = halves(term)
    let number = try number(value, term, maximum: field.maximum)
    guard let mask else { return (number, nil) }
    return (number, try self.number(mask, term, maximum: field.maximum))
  }

  private mutating func setInPort(_ term: Term, _ resolve: (String) -> UInt32?) throws(MatchError) {
    let text = term.value ?? ""
    if text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) {
      guard let index = UInt32(text), index > 0 else {
        throw MatchError(
          "\(term.text) is out of range; in_port takes an interface name, or an index of 1 to \(UInt32.max)")
      }
      match.require(.inPort, UInt64(index), mask: MatchField.inPort.maximum)
      return
    }
    guard let index = resolve(text) else {
      throw MatchError("\(term.text) names no interface of this machine; 'ip link' lists them")
    }
    match.require(.inPort, UInt64(index), mask: MatchField.inPort.maximum)
    match.inPortName = text
  }

  private mutating func setEthernetSource(_ term: Term) throws(MatchError) {
    let (value, mask) = halves(term)
    guard let address = Self.ethernet(value), let bits = mask.map(Self.ethernet) ?? 0xffff_ffff_ffff else {
      throw MatchError(
        "\(term.text) is no Ethernet address; write six pairs, as in \(term.name)=02:00:00:00:00:01, and a mask "
          + "likewise")
    }
    match.require(.ethernetSource, address, mask: bits)
  }

  private static func ethernet(_ text: String) -> UInt64? {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 6 else { return nil }
    var address: UInt64 = 0
    for part in parts {
      guard (1...2).contains(part.utf8.count), part.first != "+", part.first != "-", let octet = UInt8(part, radix: 16)
      else { return nil }
      address = address << 8 | UInt64(octet)
    }
    return address
  }

  /// As on the wire of OXM, bit 12 says that there is a tag. A value without a mask asks for one, as does a mask that
  /// leaves the bit out; `dl_vlan=0xffff` is what OpenFlow 1.0 wrote for none.
  private mutating func setVLAN(_ term: Term) throws(MatchError) {
    let tagged: UInt64 = 0x1000
    if term.name == "dl_vlan", term.value.flatMap({ Self.number($0) }) == 0xffff {
      match.require(.vlan, 0, mask: tagged)
      return
    }
    let (text, maskText) = halves(term)
    guard maskText != nil || Self.number(text).map({ $0 <= 0x1fff }) ?? true else {
      throw outOfRange(term, 0xfff)
    }
    let (value, mask) = try maskedNumber(.vlan, term)
    if let mask, mask & tagged != 0 {
      match.require(.vlan, value, mask: mask)
    } else {
      match.require(.vlan, value | tagged, mask: (mask ?? 0xfff) | tagged)
    }
  }

  private mutating func setTypeOfService(_ term: Term) throws(MatchError) {
    let (text, mask) = halves(term)
    guard mask == nil else { throw MatchError("\(term.name) takes no mask; write \(term.name)=\(text)") }
    let value = try number(text, term, maximum: 0xff)
    guard value & 3 == 0 else {
      throw MatchError(
        "\(term.text) has ECN bits set, which nw_tos does not match; write ip_dscp=\(value >> 2),ip_ecn=\(value & 3)")
    }
    match.require(.dscp, value >> 2, mask: MatchField.dscp.maximum)
  }

  private mutating func setIPv4(_ field: MatchField, _ term: Term) throws(MatchError) {
    let (text, maskText) = halves(term)
    guard let address = IPAddress(text), !text.contains(":") else {
      throw MatchError(
        IPAddress(text) == nil
          ? "'\(text)' in \(term.text) is no IPv4 address; write one as in \(field.rawValue)=192.0.2.0/24"
          : "\(term.text) is an IPv6 address; write ipv6,ipv6_\(field == .ipv4Source ? "src" : "dst")="
            + (term.value ?? ""))
    }
    var mask = UInt64(UInt32.max)
    if let maskText {
      if let bits = IPAddress(maskText), !maskText.contains(":") {
        mask = bits.low & 0xffff_ffff
      } else {
        mask = UInt64(UInt32.max << UInt32(32 - (try prefix(maskText, term, maximum: 32))))
      }
    }
    match.require(field, address.low & 0xffff_ffff, mask: mask)
  }

  private mutating func setIPv6(_ field: MatchField, _ term: Term) throws(MatchError) {
    let (text, maskText) = halves(term)
    guard let address = IPAddress(text), text.contains(":") else {
      throw MatchError(
        IPAddress(text) == nil
          ? "'\(text)' in \(term.text) is no IPv6 address; write one as in \(field.rawValue)=2001:db8::/32"
          : "\(term.text) is an IPv4 address; write ip,ipv4_\(field == .ipv6Source ? "src" : "dst")="
            + (term.value ?? ""))
    }
    var mask = IPAddress.ipv6Mask(prefix: 128)
    if let maskText {
      if let bits = IPAddress(maskText), maskText.contains(":") {
        mask = bits
      } else {
        mask = .ipv6Mask(prefix: try prefix(maskText, term, maximum: 128))
      }
    }
    let word = field.place.word
    match.value.words[word] = address.high & mask.high
    match.value.words[word + 1] = address.low & mask.low
    match.mask.words[word] = mask.high
    match.mask.words[word + 1] = mask.low
  }

  private func prefix(_ text: String, _ term: Term, maximum: Int) throws(MatchError) -> Int {
    guard let prefix = Self.number(text), prefix <= UInt64(maximum) else {
      throw MatchError(
        "'/\(text)' in \(term.text) is no mask; write a prefix of 0 to \(maximum), or a mask like an address")
    }
    return Int(prefix)
  }

  private func ports(_ field: MatchField, _ term: Term) throws(MatchError) -> PortSet {
    let bounds = (term.value ?? "").split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
    guard bounds.count == 2 else {
      let (value, mask) = try maskedNumber(field, term)
      return PortSet(value: UInt16(value), mask: UInt16(mask ?? field.maximum))
    }
    let first = UInt16(try number(bounds[0], term, maximum: field.maximum))
    let last = UInt16(try number(bounds[1], term, maximum: field.maximum))
    guard first <= last else {
      throw MatchError("\(term.text) is an empty range; write \(term.name)=\(last)-\(first)")
    }
    return PortSet(first...last)
  }
}
