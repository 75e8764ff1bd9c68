extension Match {
  /// The IP protocol that every matching packet has; nil where the match leaves it open.
  public var ipProtocol: UInt8? { self[.protocolNumber].map { UInt8($0.value) } }
}
