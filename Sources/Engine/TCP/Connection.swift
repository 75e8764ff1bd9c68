/// A TCP connection in the middle: two peer directions that are kept in step.
///
///     client  --- half[toServer].receiver -> pipeline -> half[toServer].sender --->  server
///     client  <--- half[toClient].sender <- pipeline <- half[toClient].receiver ---  server
///
/// A segment carries data of one direction and acknowledges the other: what arrives from the client goes to the receiver
/// of the one half and to the sender of the other.
struct Connection {
  enum Phase: String {
    case synSent = "syn-sent"
    case synReceived = "syn-received"
    case established
    /// Both FINs are acknowledged.
    case timeWait = "time-wait"
    /// A reset went through.
    case closed
    /// The handshake was not seen as it should be: everything passes unedited.
    case midstream
  }

  let id: UInt64
  let client: Endpoint
  let server: Endpoint
  var phase: Phase
  var halves: InlineArray<2, Half>
  var instances: [ModuleInstance] = []
  /// Whether bytes have been changed: from then on the connection must not fall back to packets that pass unmapped.
  var isEdited = false
  /// Whether it has been said that it may be edited.
  private var isAnnounced = false
  /// Whether a new configuration waits until everything that has passed unread is read.
  var isSettling = false
  /// When it was first seen.
  let opened: Instant
  var lastPacket: Instant
  /// When the phase began.
  var phaseSince: Instant
  /// The earliest time for which the connection stands in the timer queue.
  var scheduled: Instant?

  var key: ConnectionKey { ConnectionKey(client, server) }

  /// A connection of which the first packet has arrived from `client`.
  init(id: UInt64, client: Endpoint, server: Endpoint, phase: Phase, now: Instant) {
    self.id = id
    self.client = client
    self.server = server
    self.phase = phase
    halves = InlineArray(repeating: Half(start: InSequence(0)))
    opened = now
    lastPacket = now
    phaseSince = now
  }

  subscript(direction: Direction) -> Half {
    @inline(__always) _read { yield halves[direction.rawValue] }
    @inline(__always) _modify { yield &halves[direction.rawValue] }
  }

  /// Which way a packet from `source` goes.
  func direction(from source: Endpoint) -> Direction { source == client ? .toServer : .toClient }

  mutating func enter(_ phase: Phase, at now: Instant) {
    guard self.phase != phase else { return }
    self.phase = phase
    phaseSince = now
  }

  /// Whether nothing of it needs to be kept in order any more, so that a SYN may begin a new one.
  var isOver: Bool { phase == .timeWait || phase == .closed || phase == .midstream }

  /// The mark for a packet of it that goes on, or nil where its own will do.
  func mark(_ current: UInt32, _ marks: Marks) -> UInt32? {
    isEdited && current & marks.edited == 0 ? current | marks.edited : nil
  }

  /// Whether an editor has been put to work on it for the first time.
  mutating func announcesEditing() -> Bool {
    guard !isAnnounced, instances.contains(where: { $0.description.access == .edit }) else { return false }
    isAnnounced = true
    return true
  }

  mutating func removeAll(in pool: SlabPool) {
    self[.toServer].removeAll(in: pool)
    self[.toClient].removeAll(in: pool)
  }
}
