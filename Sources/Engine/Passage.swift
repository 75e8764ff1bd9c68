/// A packet on its way through the engine, from its buffer to its verdict.
struct Passage {
  let slab: SlabID
  /// Where it begins in its slab.
  let start: UInt32
  /// Octets, link-layer padding included.
  let octets: Int
  let metadata: PacketMetadata
  /// Whether the checksum of its transport is right; nil while nobody has asked.
  var isSound: Bool?
  /// What it is classified by, where modules may have changed it since: it stays with the flow that it came in as.
  var key: FlowKey?
  /// The flow, by its index in the configuration; of a packet with a `key`.
  var flow: Int?
  /// Whether a module has changed it, so that it cannot be accepted as it is.
  var isChanged = false
  /// The connection that it belongs to, and which way it goes.
  var connection: (place: ConnectionTable.Place, direction: Direction)?

  init(slab: SlabID, start: UInt32, octets: Int, metadata: PacketMetadata) {
    self.slab = slab
    self.start = start
    self.octets = octets
    self.metadata = metadata
  }
}
