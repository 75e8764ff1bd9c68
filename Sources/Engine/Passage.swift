/// A packet on its way through the engine, from its buffer to its verdict.
struct Passage {
  var slab: SlabID
  /// Where it begins in its slab.
  var start: UInt32
  /// Octets, link-layer padding included.
  let octets: Int
  var metadata: PacketMetadata
  /// Whether the checksum of its transport is right; nil while nobody has asked.
  var isSound: Bool?
  /// What it is classified by, where modules may have changed it since: it stays with the flow that it came in as.
  var key: FlowKey?
  /// The flow, by its index in the configuration; of a packet with a `key`.
  var flow: Int?
  /// The same by its ``Flow/id``, for a packet that waits while the configuration changes.
  var flowID: UInt32?
  /// Whether a module has changed it, so that it cannot be accepted as it is.
  var isChanged = false
  /// Whether translation has changed it on its way here, so that connection tracking would not know it again.
  let isTranslated: Bool
  /// The connection that it belongs to, and which way it goes.
  var connection: (place: ConnectionTable.Place, direction: Direction)?

  /// - Parameter marks: our bits of its mark; one of them may say that it has been translated.
  init(slab: SlabID, start: UInt32, octets: Int, metadata: PacketMetadata, marks: Marks) {
    self.slab = slab
    self.start = start
    self.octets = octets
    self.metadata = metadata
    self.metadata.mark &= ~marks.untracked
    isTranslated = metadata.mark & marks.untracked != 0 && !metadata.isBeforeTranslation
  }

  /// Takes note of the transport of a super-packet. Whoever receives a segment of TCP that is summed later finds its checksum right,
  /// whatever it is here; of other transports no checksum is computed.
  mutating func expectSum(_ transport: Transport) {
    if case .tcp = transport { metadata.isChecksumTrusted = true } else { metadata.isSummedLater = false }
  }

  /// Whether the kernel does not tell of how many packets it is, so that nobody could cut it again: a super-packet of UDP. Of TCP the
  /// receiver does not mind how it is cut.
  func isSealed(_ packet: PacketInHand) -> Bool {
    guard metadata.isGSO else { return false }
    if case .tcp = packet.headers.transport { return false }
    return true
  }
}

extension PacketHeaders {
  /// Whether it means something on its link alone, so that it could not be sent anew: neighbour discovery (RFC 4861), and addresses
  /// that are of a link, or of all that are on one.
  var isOfLink: Bool {
    if ip.isIPv6, case .icmp(let icmp) = transport, (133...137).contains(icmp.type) { return true }
    return ip.source.isOfLink || ip.destination.isOfLink || ip.destination.isMulticast
  }
}
