/// A packet in the hands of a module on a thread of its own, and how it goes on once it is back.
///
/// Its verdict was to drop it, and what leaves in its place is injected. The engine holds a reference to its slab, in which nobody
/// else has a part; between the handing over and the return all of it is the thread's.
final class LentPacket: @unchecked Sendable {
  /// How it goes on.
  enum Course {
    /// On its way in, behind the step at an index of these.
    case arrival([PacketModules.Step], Int)
    /// On its way out, behind the step at an index of these.
    case departure([PacketModules.Step], Int, Leaving)
    /// A segment, on one side of TCP, and the modules of its connection that it is yet to meet there.
    case segment(Half.Side, rest: [Pipeline.Step], Leaving?)
    /// A datagram of UDP, the octets that its payload may have, and the modules of its association that it is yet to meet.
    case datagram(ConnectionKey, limit: Int, rest: [Pipeline.Step])
    /// An answer to a packet that was refused, behind the step at an index of its way back.
    case answer([PacketModules.Step], Int, mark: UInt32)
  }

  /// With what it leaves.
  struct Leaving {
    var mark: UInt32
    /// Whether it is a super-packet.
    var isGSO = false
    /// Whether its checksums are still to be computed where no module has changed it.
    var isUnfinished = false
    /// The connection that it is of, and which way it goes.
    var connection: (place: ConnectionTable.Place, direction: Direction)?

    init(_ passage: Passage, mark: UInt32) {
      self.mark = mark
      isGSO = passage.metadata.isGSO
      isUnfinished = passage.metadata.isChecksumTrusted
      connection = passage.connection
    }
  }

  var packet: PacketInHand
  let isPeer: Bool
  let identity: ConnectionIdentity
  let course: Course
  private(set) var passage: Passage
  /// Octets that the module is shown of it.
  let octets: Int
  /// Octets of memory that it takes.
  let cost: Int
  /// The payload of a datagram as it is at this point, with references of the engine's.
  var datagram = SegmentQueue()
  /// What has come of that; nil where the module has not seen it.
  var returned: ModuleReturn?
  /// What has come of it; nil where the module has not seen it.
  var showing: Showing?
  /// What was added to the module's own counters.
  var own: [UInt64] = []

  init(
    _ packet: PacketInHand, isPeer: Bool, identity: ConnectionIdentity, course: Course, passage: Passage,
    octets: Int, cost: Int
  ) {
    self.packet = packet
    self.isPeer = isPeer
    self.identity = identity
    self.course = course
    self.passage = passage
    // The packet that would have been is dropped.
    self.passage.metadata.isSummedLater = false
    self.octets = octets
    self.cost = cost
  }
}
