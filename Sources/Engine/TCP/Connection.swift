/// A TCP connection in the middle: two peer directions that are kept in step.
///
///     client  --- half[toServer].receiver -> pipeline -> half[toServer].sender --->  server
///     client  <--- half[toClient].sender <- pipeline <- half[toClient].receiver ---  server
///
/// A segment carries data of one direction and acknowledges the other: what arrives from the client goes to the receiver
/// of the one half and to the sender of the other.
struct Connection: ~Copyable {
  enum Phase: String {
    case synSent = "syn-sent"
    case synReceived = "syn-received"
    case established
    /// Both FINs are acknowledged.
    case timeWait = "time-wait"
    /// A reset went through.
    case closed
    /// A module, the failure of one, or the control side has ended it: nothing of it passes any more.
    case cut
    /// The kernel forwards it alone.
    case offloaded
  }

  let id: UInt64
  let client: Endpoint
  let server: Endpoint
  private(set) var phase: Phase
  /// Why it is never edited, where it is not.
  var restriction: Restriction?
  /// Whether an editor may have been waiting for it when its SYN came: then it was opened for growth, without what cannot be
  /// edited.
  let isPrepared: Bool
  /// A connection that begins anew between the same ends, of which the SYN has passed; one at the most.
  var successor = Rare<Connection>()
  var halves: Pair<Half>
  var instances: [ModuleInstance] = []
  /// Whether bytes have been changed: from then on the connection must not fall back to packets that pass unmapped.
  var isEdited = false
  /// Whether the SYN has been answered with more than one number: then the client says which of them it has taken.
  var isDisputed = false
  /// Whether it has been said that it may be edited.
  private var isAnnounced = false
  /// Whether a new configuration waits until everything that has passed unread is read.
  var isSettling = false
  /// How far modules have read either direction, once none of them has an interest any more.
  var readEdges: InlineArray<2, OutSequence>?
  /// When it was first seen.
  let opened: Instant
  var lastPacket: Instant
  /// The earliest time for which the connection stands in the timer queue.
  var scheduled: Instant?

  var key: ConnectionKey { ConnectionKey(client, server) }

  /// A connection of which the first packet has arrived.
  ///
  /// - Parameter isSeenOpening: whether that was the client's SYN.
  init(id: UInt64, client: Endpoint, server: Endpoint, isSeenOpening: Bool, isPrepared: Bool, now: Instant) {
    self.id = id
    self.client = client
    self.server = server
    self.isPrepared = isPrepared
    phase = isSeenOpening ? .synSent : .synReceived
    halves = Pair(Half(start: InSequence(0)), Half(start: InSequence(0)))
    opened = now
    lastPacket = now
  }

  subscript(direction: Direction) -> Half {
    @inline(__always) unsafeAddress { unsafe halves.address(direction) }
    @inline(__always) unsafeMutableAddress { unsafe halves.mutableAddress(direction) }
  }

  /// Which way a packet from `source` goes.
  func direction(from source: Endpoint) -> Direction { source == client ? .toServer : .toClient }

  mutating func enter(_ phase: Phase, _ environment: inout Environment) {
    guard phase != self.phase else { return }
    self.phase = phase
    switch phase {
    case .timeWait: tell(.closed, &environment)
    case .closed, .cut: tell(.reset, &environment)
    case .synSent, .synReceived, .established, .offloaded: break
    }
  }

  /// Tells all modules of a change.
  mutating func tell(_ change: ConnectionChange, _ environment: inout Environment) {
    for index in instances.indices where !instances[index].isOver {
      let identity = identity(instances[index].owner)
      instances[index].tell(change, identity, &environment)
    }
  }

  /// Whether its packets pass as they are, and are at most read.
  var isObserved: Bool { restriction?.isObserved ?? false }

  /// Whether its packets have nothing to do with modules and numbers any more.
  var hasLeft: Bool { phase == .cut || phase == .offloaded }

  /// The mark for a packet of it that goes on, or nil where its own will do.
  func mark(_ current: UInt32, _ marks: Marks) -> UInt32? {
    let bits = phase == .offloaded ? marks.offloaded : isEdited ? marks.edited : 0
    return current & bits == bits ? nil : current | bits
  }

  /// Whether an editor has been put to work on it for the first time.
  mutating func announcesEditing() -> Bool {
    guard !isAnnounced, instances.isEditing else { return false }
    isAnnounced = true
    return true
  }

  /// Gives back what it holds, and has the threads of its modules end.
  mutating func removeAll(in pool: SlabPool) {
    for index in instances.indices { leaveThread(of: index, in: pool) }
    self[.toServer].removeAll(in: pool)
    self[.toClient].removeAll(in: pool)
  }
}
