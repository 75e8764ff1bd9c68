/// What a module on a thread of its own hands back to the engine at one time.
final class ModuleReturn: Sendable {
  /// Whether it is of the peer direction.
  let isPeer: Bool
  /// Octets released; of an editor those that leave.
  let released: Int
  /// What leaves, of an editor. Octets that were inserted are named by where they stand in ``inserted``.
  let segments: [Segment]
  let inserted: [UInt8]
  /// How much of what was handed over is done with: octets, and sequence numbers of the source.
  let taken: (octets: Int, numbers: Int)
  let edits: (count: UInt64, removed: UInt64, inserted: UInt64)
  /// What was added to the module's own counters.
  let own: [UInt64]
  let requests: ModuleRequests
  /// Whether the module has come to the end of the stream.
  let isEnded: Bool
  /// Whether the module may not come to the end that was asked of it, and goes on for now.
  let isStaying: Bool
  /// Whether the thread has ended, and touches nothing any more.
  let isGone: Bool

  init(
    isPeer: Bool, released: Int = 0, segments: [Segment] = [], inserted: [UInt8] = [],
    taken: (octets: Int, numbers: Int) = (0, 0), edits: (count: UInt64, removed: UInt64, inserted: UInt64) = (0, 0, 0),
    own: [UInt64] = [], requests: ModuleRequests = ModuleRequests(), isEnded: Bool = false, isStaying: Bool = false,
    isGone: Bool = false
  ) {
    self.isPeer = isPeer
    self.released = released
    self.segments = segments
    self.inserted = inserted
    self.taken = taken
    self.edits = edits
    self.own = own
    self.requests = requests
    self.isEnded = isEnded
    self.isStaying = isStaying
    self.isGone = isGone
  }
}
