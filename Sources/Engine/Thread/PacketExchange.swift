import DequeModule
import Synchronization

/// What stands between the engine and a module that gets packets one by one, on a thread of its own.
///
///     engine   --- packets (ring) ---------->  thread: Window, the module
///     engine   <-- the same, in their order --
///
/// Nothing is copied on the way, and neither side waits for the other. There is room for so much and no more: a packet has no window
/// that could be closed, so what finds no room is lost, as on any link.
@safe final class PacketExchange: ModuleExchange, @unchecked Sendable {
  /// How much may be in the thread's hands.
  struct Bound {
    let packets: Int
    /// Of memory.
    let octets: Int

    /// For all packets of a flow.
    static let flow = Bound(packets: 1_024, octets: 4 << 20)
    static let connection = Bound(packets: 256, octets: 1 << 20)
  }

  /// Whose packets the module gets.
  enum Home {
    case flow
    case connection(ConnectionTable.Place)
    case association(ConnectionKey, id: UInt64)
  }

  let home: Home

  private let ring: LentRing
  private let hasLeft = Atomic(false)
  /// Octets in the thread's hands, as the engine counts them, and how many may be.
  private var octets = 0
  private let limit: Int
  /// The same as the module is shown them, of its own direction and of the peer direction.
  private var held = (own: 0, peer: 0)

  /// The thread's: how the module is now.
  private var current: ModuleDescription

  init(
    _ module: any ProcessingModule, _ description: ModuleDescription, bound: Bound, home: Home, origin: Origin,
    post: Post, pool: SlabPool
  ) {
    self.home = home
    current = description
    ring = LentRing(capacity: bound.packets)
    limit = max(bound.octets, description.holdLimit)
    super.init(module, origin: origin, post: post, pool: pool)
  }

  // MARK: The engine's side

  /// Packets that have not been taken back.
  var count: Int { ring.count }

  /// Whether a packet of `cost` octets finds room.
  func hasRoom(for cost: Int) -> Bool { ring.count < ring.capacity && octets + cost <= limit }

  /// Hands a packet over, where there is room; with it goes a reference to its slab.
  func lend(_ packet: LentPacket) -> Bool {
    guard hasRoom(for: packet.cost), ring.push(packet) else { return false }
    octets += packet.cost
    if packet.isPeer { held.peer += packet.octets } else { held.own += packet.octets }
    wake()
    return true
  }

  /// Octets that the module has been lent, as it is shown them, and that have not been taken back.
  func held(isPeer: Bool) -> Int { isPeer ? held.peer : held.own }

  /// The next packet that is back; once the thread is gone also those that it has not worked at.
  func takeBack() -> LentPacket? {
    guard let packet = ring.takeBack(isLeft: isGone) else { return nil }
    octets -= packet.cost
    if packet.isPeer { held.peer -= packet.octets } else { held.own -= packet.octets }
    return packet
  }

  /// Whether the thread touches nothing any more.
  var isGone: Bool { hasLeft.load(ordering: .acquiring) }

  override var hasWork: Bool { ring.hasWork }

  // MARK: The thread's side

  @discardableResult
  override func step() -> Bool {
    while !isOver {
      heedOrders()
      guard !isOver, let packet = ring.next else { break }
      show(packet)
      ring.finish()
      notify()
    }
    report()
    return !isOver
  }

  private func show(_ lent: LentPacket) {
    if case .datagram(_, let limit, _) = lent.course {
      if lent.datagram.count > 0 { lent.returned = show(datagram: lent, limit) }
    } else {
      lent.showing = unsafe lent.packet.show(
        to: &module, current, isPeer: lent.isPeer, identity: lent.identity, own: own, in: pool, at: clock())
      lent.own = takeCounts()
    }
    if let requests = lent.showing?.requests ?? lent.returned?.requests, requests.fault != nil || requests.isOffloading
    {
      giveUp()
    }
  }

  /// Has the module take no more part.
  private func giveUp() {
    isOver = true
    changes = []
  }

  /// Shows the module the payload of a datagram, all of which must be released.
  private func show(datagram lent: LentPacket, _ limit: Int) -> ModuleReturn {
    let setting = unsafe Window.Setting(
      identity: lent.identity, mayEdit: current.access == .edit, own: own, isDatagram: true)
    var window = Window(lent.datagram, pool: pool, setting: setting, now: clock(), true, false)
    do {
      if lent.isPeer { try module.processPeer(&window) } else { try module.process(&window) }
    } catch {
      window.fail("it threw: \(error)")
    }
    let left = window.count - window.released
    window.releaseAll()
    if window.count > limit { window.fail(Pipeline.tooLong(window.count, limit)) }
    let result = window.exchange(more: SegmentQueue(), mustRelease: false, isFinal: false, now: clock())
    var leaving = Leaving()
    for segment in result.released.segments { leaving.add(segment, from: arena) }
    return ModuleReturn(
      isPeer: lent.isPeer, released: leaving.octets, segments: leaving.segments, inserted: leaving.inserted,
      taken: (left, 0), edits: result.edits, own: takeCounts(), requests: result.requests)
  }

  private func heedOrders() {
    for order in takeOrders() {
      switch order {
      case .adopt(let prototype):
        module = module.adopting(prototype)
        current = module.ownDescription
      case .change(let change, let identity): changes.append((change, identity))
      case .retire: isRetiring = true
      case .end: isOver = true
      }
    }
    if isRetiring, !isOver, module.retire() { giveUp() }
  }

  override func waitForWork() {
    bell.wait(for: nil) { ring.hasWork || hasOrders.load(ordering: .sequentiallyConsistent) }
  }

  override func leave() {
    hasLeft.store(true, ordering: .releasing)
    notify()
  }
}
