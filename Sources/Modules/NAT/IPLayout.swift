import Engine

/// An address with a port, or with an ICMP identifier in its place.
struct TransportAddress: Hashable, Sendable {
  var address: IPAddress
  /// 0 where there is none.
  var port: UInt16
}

/// What stands where in a packet that is translated: the one that a window shows, or one that an ICMP error quotes.
struct IPLayout {
  enum End { case source, destination }

  let source: TransportAddress
  let destination: TransportAddress
  let protocolNumber: UInt8
  /// Whether it has ports, or an identifier that stands for one.
  let isTranslatable: Bool
  /// An echo request or reply.
  let isEcho: Bool
  private let isError: Bool
  private let isIPv6: Bool
  private let isQuoted: Bool
  private let start: Int
  private let transport: Int
  /// TCP's control bits, 0 of others.
  private let flags: UInt8

  /// The packet in `window`; nil where it is a part of one only, or its transport is not looked into.
  init?(_ packet: PacketDescription, _ window: inout Window) {
    guard !packet.isFragment, packet.payloadOffset > packet.transportOffset else { return nil }
    self.init(
      at: 0, transport: packet.transportOffset, packet.protocolNumber, packet.source, packet.destination,
      isIPv6: packet.isIPv6, isQuoted: false, &window)
  }

  private init(
    at start: Int, transport: Int, _ number: UInt8, _ source: IPAddress, _ destination: IPAddress, isIPv6: Bool,
    isQuoted: Bool, _ window: inout Window
  ) {
    self.start = start
    self.transport = transport
    self.isIPv6 = isIPv6
    self.isQuoted = isQuoted
    protocolNumber = number
    var ports: (UInt16, UInt16)?
    var isEcho = false
    var isError = false
    var flags: UInt8 = 0
    switch number {
    case 6, 17:
      ports = (window.uint16(at: transport), window.uint16(at: transport + 2))
      if number == 6, !isQuoted { flags = window[transport + 13] }
    case isIPv6 ? 58 : 1:
      let type = window[transport]
      isEcho = (isIPv6 ? [128, 129] : [8, 0]).contains(type)
      isError = isIPv6 ? type < 128 : [3, 4, 11, 12].contains(type)
      if isEcho {
        let identifier = window.uint16(at: transport + 4)
        ports = (identifier, identifier)
      }
    default: break
    }
    self.isEcho = isEcho
    self.isError = isError
    self.flags = flags
    isTranslatable = ports != nil
    self.source = TransportAddress(address: source, port: ports?.0 ?? 0)
    self.destination = TransportAddress(address: destination, port: ports?.1 ?? 0)
  }

  /// What the error quotes; nil where this is none, or it does not quote enough of a packet that could be translated.
  func quoted(in window: inout Window) -> IPLayout? {
    let start = transport + 8
    guard isError, window.count >= start + (isIPv6 ? 48 : 28), window[start] >> 4 == (isIPv6 ? 6 : 4) else {
      return nil
    }
    let transport = start + (isIPv6 ? 40 : Int(window[start] & 0xf) * 4)
    guard transport >= start + (isIPv6 ? 40 : 20), window.count >= transport + 8 else { return nil }
    if !isIPv6, window.uint16(at: start + 6) & 0x1fff != 0 { return nil }
    let number = window[start + (isIPv6 ? 6 : 9)]
    let layout = IPLayout(
      at: start, transport: transport, number, Self.address(at: start + (isIPv6 ? 8 : 12), isIPv6, &window),
      Self.address(at: start + (isIPv6 ? 24 : 16), isIPv6, &window), isIPv6: isIPv6, isQuoted: true, &window)
    return layout.isTranslatable ? layout : nil
  }

  static func address(at position: Int, _ isIPv6: Bool, _ window: inout Window) -> IPAddress {
    func word(_ start: Int, _ count: Int) -> UInt64 {
      (start..<start + count).reduce(0) { $0 << 8 | UInt64(window[$1]) }
    }
    return isIPv6
      ? IPAddress(high: word(position, 8), low: word(position + 8, 8)) : IPAddress(v4: UInt32(word(position, 4)))
  }

  /// The far end as a mapping of destinations knows it: an identifier is the near one's.
  var farSource: TransportAddress { isEcho ? .init(address: source.address, port: 0) : source }
  var farDestination: TransportAddress { isEcho ? .init(address: destination.address, port: 0) : destination }

  var isReset: Bool { flags & 0x04 != 0 }

  /// What the packet tells of the state of its connection.
  func news(_ isFromInside: Bool) -> MappingTable.News {
    MappingTable.News(
      isFromInside: isFromInside, isOpening: flags & 0x02 != 0, isFinish: flags & 0x01 != 0, isReset: isReset)
  }

  // MARK: Changes

  /// Gives one end another address, and another port where `new` has one.
  ///
  /// The checksums of the packet that a window shows are set behind this; those of a quoted one are mended here, as far as they
  /// are quoted.
  func set(_ end: End, _ new: TransportAddress, in window: inout Window) {
    let place = start + (isIPv6 ? (end == .source ? 8 : 24) : (end == .source ? 12 : 16))
    let octets = new.address.octets(isIPv6: isIPv6)
    for index in stride(from: 0, to: octets.count, by: 2) {
      let word = UInt16(octets[index]) << 8 | UInt16(octets[index + 1])
      // ICMP has no pseudo-header in IPv4.
      change(at: place + index, to: word, isSummed: protocolNumber != 1, &window)
    }
    if isTranslatable, new.port != 0 {
      let field = isEcho ? transport + 4 : transport + (end == .source ? 0 : 2)
      change(at: field, to: new.port, isSummed: true, &window)
    }
    guard isQuoted, !isIPv6 else { return }
    window.replace(at: start + 10, with: 0)
    window.replace(at: start + 10, with: Checksum.fold(window.sum(of: start..<transport)))
  }

  private func change(at place: Int, to word: UInt16, isSummed: Bool, _ window: inout Window) {
    let old = window.uint16(at: place)
    guard old != word else { return }
    window.replace(at: place, with: word)
    guard isQuoted, isSummed, let field = checksumField, field + 2 <= window.count else { return }
    let checksum = window.uint16(at: field)
    // Zero says that there is none (RFC 768).
    if protocolNumber == 17, checksum == 0, !isIPv6 { return }
    let updated = Checksum.update(checksum, from: old, to: word)
    window.replace(at: field, with: protocolNumber == 17 && updated == 0 ? 0xffff : updated)
  }

  private var checksumField: Int? {
    switch protocolNumber {
    case 6: transport + 16
    case 17: transport + 6
    case 1, 58: transport + 2
    default: nil
    }
  }
}

extension IPAddress {
  /// The octets in network byte order: four of IPv4, sixteen of IPv6.
  func octets(isIPv6: Bool) -> [UInt8] {
    isIPv6
      ? [high, low].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * $0)) } }
      : (0..<4).map { UInt8(truncatingIfNeeded: low >> (24 - 8 * UInt64($0))) }
  }
}
