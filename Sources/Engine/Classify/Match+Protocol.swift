extension Match {
  /// The version of IP that every matching packet has; nil where the match leaves it open.
  public var ipVersion: Int? {
    switch self[.etherType]?.value {
    case UInt64(EtherType.ipv4): 4
    case UInt64(EtherType.ipv6): 6
    default: nil
    }
  }

  /// The IP protocol that every matching packet has; nil where the match leaves it open.
  public var ipProtocol: UInt8? { self[.protocolNumber].map { UInt8($0.value) } }
}
