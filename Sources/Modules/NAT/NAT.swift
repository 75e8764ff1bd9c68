import Engine

/// Network address translation: of sources to a pool of addresses and ports, of destinations to one host, or of IPv6 prefixes.
///
/// It is attached to a flow that matches what comes from the side whose addresses are hidden (`source`, `prefix`), or what goes to
/// the address that stands for another (`destination`). The answers it finds by itself.
public struct NAT: ProcessingModule {
  enum Counter: Int, CaseIterable {
    case translated, mappings, errors, exhausted, untranslatable
  }

  public static let description = ModuleDescription(
    kind: "nat", layer: .ip, access: .edit, peer: true,
    parameters: [
      Parameter("source", .text, default: "", help: "what sources become: ADDRESS or FIRST-LAST"),
      Parameter("ports", .text, default: "20000-60000", help: "the ports for them: FIRST-LAST"),
      Parameter("destination", .text, default: "", help: "what destinations become: ADDRESS or ADDRESS:PORT"),
      Parameter("prefix", .text, default: "", help: "the inner prefix of a prefix translation: ADDRESS/LENGTH (IPv6)"),
      Parameter("to", .text, default: "", help: "the outer prefix, of the same length"),
      Parameter(
        "established", .integer(1...1_000_000), default: "7440", unit: "s",
        help: "how long an open TCP connection may be silent"),
      Parameter(
        "transitory", .integer(1...1_000_000), default: "240", unit: "s",
        help: "the same while it opens, and once it is closed"),
      Parameter("udp", .integer(1...1_000_000), default: "300", unit: "s", help: "the same of UDP"),
      Parameter("icmp", .integer(1...1_000_000), default: "60", unit: "s", help: "the same of ICMP echo"),
      Parameter("limit", .integer(1...4_194_304), default: "262144", unit: "mappings", help: "mappings at a time"),
    ],
    counters: Counter.allCases.map { "\($0)" },
    help: "Translates addresses and ports: sources, destinations, or IPv6 prefixes.")

  /// What is translated into what.
  enum Translation: Sendable {
    case source(AddressPool)
    case destination(IPAddress, port: UInt16?)
    case prefix(PrefixTranslation)
  }

  private let translation: Translation
  private let table: MappingTable
  private let timeouts: MappingTable.Timeouts
  private let limit: Int

  public init(_ arguments: Arguments) throws(ArgumentError) {
    translation = try Translation(arguments)
    table = MappingTable()
    timeouts = MappingTable.Timeouts(
      established: .seconds(Int64(arguments.integer("established"))),
      transitory: .seconds(Int64(arguments.integer("transitory"))), udp: .seconds(Int64(arguments.integer("udp"))),
      icmp: .seconds(Int64(arguments.integer("icmp"))))
    limit = arguments.integer("limit")
  }

  private init(_ newer: NAT, keeping table: MappingTable) {
    translation = newer.translation
    self.table = table
    timeouts = newer.timeouts
    limit = newer.limit
  }

  public var ipVersion: Int? {
    switch translation {
    case .source(let pool): pool.isIPv6 ? 6 : 4
    case .destination(let address, _): address.isIPv4 ? 4 : 6
    case .prefix: 6
    }
  }

  /// What is mapped stays mapped.
  public mutating func adopt(_ prototype: NAT) { self = NAT(prototype, keeping: table) }

  public mutating func process(_ window: inout Window) { translate(&window, isPeer: false) }

  public mutating func processPeer(_ window: inout Window) { translate(&window, isPeer: true) }

  private func translate(_ window: inout Window, isPeer: Bool) {
    guard let packet = window.packet, concerns(packet, isPeer: isPeer) else { return }
    if case .prefix(let prefixes) = translation {
      switch prefixes.translate(&window, packet, isOutward: !isPeer) {
      case .translated: window.count(Counter.translated.rawValue)
      case .errorTranslated: window.count(Counter.errors.rawValue)
      case .untouched: return
      case .impossible:
        window.count(Counter.untranslatable.rawValue)
        window.reset()
      }
      return
    }
    guard let headers = IPLayout(packet, &window) else { return refuse(&window, isPeer: isPeer) }
    if let quoted = headers.quoted(in: &window) {
      translate(error: headers, about: quoted, &window, isPeer: isPeer)
    } else if headers.isTranslatable, packet.isSound {
      translate(headers, &window, isPeer: isPeer)
    } else {
      refuse(&window, isPeer: isPeer)
    }
  }

  /// Whether the packet may be one that is to be translated; of the peer direction most are not.
  private func concerns(_ packet: PacketDescription, isPeer: Bool) -> Bool {
    switch translation {
    case .source(let pool): pool.isIPv6 == packet.isIPv6 && (!isPeer || pool.contains(packet.destination))
    // Of errors the source may be any router behind it.
    case .destination(let address, _):
      address.isIPv4 != packet.isIPv6
        && (!isPeer || packet.source == address || packet.protocolNumber == (packet.isIPv6 ? 58 : 1))
    case .prefix: packet.isIPv6
    }
  }

  /// What has an address that is to be hidden, and cannot be translated, must not leave.
  private func refuse(_ window: inout Window, isPeer: Bool) {
    guard !isPeer else { return }
    window.count(Counter.untranslatable.rawValue)
    window.drop()
  }

  // MARK: Packets

  private func translate(_ headers: IPLayout, _ window: inout Window, isPeer: Bool) {
    let number = headers.protocolNumber
    let isFromInside: Bool
    var found: MappingTable.Mapping?
    var end = IPLayout.End.source
    switch (translation, isPeer) {
    case (.source(let pool), false):
      if pool.contains(headers.destination.address),
        let known = table.find(
          .init(number, headers.destination), .backward, headers.news(false), timeouts, at: window.now)
      {
        // An answer in a flow that matches both directions; or from one host inside to another by its outer address.
        headers.set(.destination, known.inside, in: &window)
        guard
          let own = table.find(.init(number, headers.source), .forward, headers.news(true), timeouts, at: window.now)
        else {
          window.count(Counter.translated.rawValue)
          return
        }
        headers.set(.source, own.outside, in: &window)
        window.count(Counter.translated.rawValue)
        return
      }
      isFromInside = true
      found = table.find(.init(number, headers.source), .forward, headers.news(true), timeouts, at: window.now)
      if found == nil { found = open(headers, pool, &window) }
    case (.source, true):
      isFromInside = false
      end = .destination
      found = table.find(.init(number, headers.destination), .backward, headers.news(false), timeouts, at: window.now)
    case (.destination(let address, let port), false):
      isFromInside = false
      end = .destination
      let key = MappingTable.Key(number, headers.source, headers.farDestination)
      found = table.find(key, .forward, headers.news(false), timeouts, at: window.now)
      if found == nil {
        let inside = TransportAddress(address: address, port: port ?? headers.farDestination.port)
        found = open(headers, key, inside: headers.isEcho ? .init(address: address, port: 0) : inside, &window)
      }
    case (.destination, true):
      isFromInside = true
      let key = MappingTable.Key(number, headers.destination, headers.farSource)
      found = table.find(key, .backward, headers.news(true), timeouts, at: window.now)
    case (.prefix, _): return
    }
    guard let found else { return }
    headers.set(end, isFromInside ? found.outside : found.inside, in: &window)
    window.count(Counter.translated.rawValue)
  }

  /// Maps a source; the packet is dropped where nothing is left for it.
  private func open(_ headers: IPLayout, _ pool: AddressPool, _ window: inout Window) -> MappingTable.Mapping? {
    guard !headers.isReset else {
      window.drop()
      return nil
    }
    let mapping = table.map(
      headers.protocolNumber, headers.source, to: pool, limit: limit, headers.news(true), timeouts, at: window.now)
    return note(mapping, headers, &window)
  }

  private func open(
    _ headers: IPLayout, _ key: MappingTable.Key, inside: TransportAddress, _ window: inout Window
  ) -> MappingTable.Mapping? {
    guard !headers.isReset else {
      window.drop()
      return nil
    }
    let mapping = table.map(
      key, to: MappingTable.Key(headers.protocolNumber, headers.source, inside), inside: inside,
      outside: headers.farDestination, limit: limit, headers.news(false), timeouts, at: window.now)
    return note(mapping, headers, &window)
  }

  private func note(
    _ mapping: MappingTable.Mapping?, _ headers: IPLayout, _ window: inout Window
  ) -> MappingTable.Mapping? {
    guard let mapping else {
      window.count(Counter.exhausted.rawValue)
      if table.mayTellOfExhaustion(at: window.now) {
        window.emit(
          "exhausted",
          ["source": headers.source.address.description, "protocol": "\(headers.protocolNumber)"])
      }
      window.drop()
      return nil
    }
    window.count(Counter.mappings.rawValue)
    return mapping
  }

  // MARK: Errors

  /// An ICMP error: what it quotes is translated as well, so that its source finds the packet that it has sent.
  private func translate(
    error headers: IPLayout, about quoted: IPLayout, _ window: inout Window, isPeer: Bool
  ) {
    let number = quoted.protocolNumber
    let found: MappingTable.Mapping?
    switch (translation, isPeer) {
    case (.source, false):
      found = table.find(.init(number, quoted.destination), .forward, nil, timeouts, at: window.now)
      if let found {
        quoted.set(.destination, found.outside, in: &window)
        headers.set(.source, found.outside, in: &window)
      }
    case (.source, true):
      found = table.find(.init(number, quoted.source), .backward, nil, timeouts, at: window.now)
      if let found {
        quoted.set(.source, found.inside, in: &window)
        headers.set(.destination, found.inside, in: &window)
      }
    case (.destination, false):
      found = table.find(
        .init(number, quoted.destination, quoted.farSource), .forward, nil, timeouts, at: window.now)
      if let found {
        quoted.set(.source, found.inside, in: &window)
        headers.set(.destination, found.inside, in: &window)
      }
    case (.destination, true):
      found = table.find(
        .init(number, quoted.source, quoted.farDestination), .backward, nil, timeouts, at: window.now)
      if let found {
        quoted.set(.destination, found.outside, in: &window)
        headers.set(.source, found.outside, in: &window)
      }
    case (.prefix, _): return
    }
    if found == nil { refuse(&window, isPeer: isPeer) } else { window.count(Counter.errors.rawValue) }
  }
}

extension NAT.Translation {
  fileprivate init(_ arguments: Arguments) throws(ArgumentError) {
    let given = ["source", "destination", "prefix"].filter { !arguments.text($0).isEmpty }
    guard given.count == 1 else {
      throw ArgumentError("give one of 'source', 'destination' and 'prefix'")
    }
    switch given[0] {
    case "source":
      self = .source(try AddressPool(arguments.text("source"), ports: arguments.text("ports")))
    case "destination":
      let (address, port) = try Self.destination(arguments.text("destination"))
      guard address.isHost else {
        throw ArgumentError("parameter 'destination' takes the address of a host, and '\(address)' can be none's")
      }
      self = .destination(address, port: port)
    default:
      self = .prefix(try PrefixTranslation(arguments.text("prefix"), to: arguments.text("to")))
    }
  }

  /// `ADDRESS` or `ADDRESS:PORT`; an IPv6 address with a port stands in brackets.
  private static func destination(_ text: String) throws(ArgumentError) -> (IPAddress, UInt16?) {
    if let address = IPAddress(text) { return (address, nil) }
    if let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]), port > 0 {
      var host = text[..<colon]
      if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
      if let address = IPAddress(String(host)), address.isIPv4 == (host.endIndex == colon) { return (address, port) }
    }
    throw ArgumentError("parameter 'destination' takes ADDRESS or ADDRESS:PORT, not '\(text)'")
  }
}
