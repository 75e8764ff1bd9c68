import DequeModule
import Synchronization

/// What stands between the engine and a module that runs on a thread of its own, for one connection.
///
///     engine   --- segments (ring) ----------->  thread: Window, the module
///     engine   <-- returns: releases, edits ---  thread
///
/// Nothing is copied on the way to the thread, and neither side waits for the other: the engine keeps the references to the
/// slabs until what lies in them is returned. Bytes and numbers are all that is shared.
@safe public final class ModuleExchange: @unchecked Sendable {
  /// What the engine wants of the thread beside its bytes. Rare, so a lock may guard it.
  private enum Order {
    case adopt(any ProcessingModule)
    case change(ConnectionChange)
    case retire
    case end
  }

  let place: ConnectionTable.Place
  private let ring = SegmentRing()
  private let returns = MailStack<ModuleReturn>()
  private let orders = Mutex<[Order]>([])
  private let hasOrders = Atomic(false)
  /// Whether no more comes, or everything must be released: own direction, peer direction.
  private let ownEnd = Atomic(false)
  private let peerEnd = Atomic(false)
  private let ownExpiry = Atomic(false)
  private let peerExpiry = Atomic(false)
  private let bell = Bell()
  private let post: Post
  private let isPosted = Atomic(false)

  /// The engine's: what the thread may still look at although nobody else needs it.
  private var limbo = SegmentQueue()

  // The thread's own.
  private var module: any ProcessingModule
  private let description: ModuleDescription
  private let arena = InsertionArena()
  private let pool: SlabPool
  private let own: UnsafeMutableBufferPointer<UInt64>
  private var sides: [Side]
  /// What `pm set` has brought, for a module that reads.
  private var adopted: (any ProcessingModule)?
  private var isRetiring = false
  /// Whether both ends have ended the connection.
  private var isClosed = false
  /// Whether the engine has been told that the module may not come to its end yet.
  private var isStaying = false
  private var isOver = false

  /// One direction on the thread's side.
  private struct Side {
    var identity: ConnectionIdentity
    var queue = SegmentQueue()
    /// Octets that have come since the module was called last.
    var fresh = false
    var isEnded = false
    /// Whether the module has seen the end.
    var isEndSeen = false
    var isEndTold = false
    var wake: Instant?
  }

  /// Where exchanges that have something to return are gathered, one for an engine.
  final class Post: Sendable {
    fileprivate let ready = MailStack<ModuleExchange>()
    fileprivate let starter: any ThreadStarter

    init(_ starter: any ThreadStarter) { self.starter = starter }

    var isEmpty: Bool { ready.isEmpty }

    /// The exchanges that have something to return.
    func takeAll() -> [ModuleExchange] {
      let list = ready.takeAll()
      for exchange in list { exchange.isPosted.store(false, ordering: .sequentiallyConsistent) }
      return list
    }

    func start(_ exchange: ModuleExchange) -> Bool { starter.start(exchange) }
  }

  init(
    _ module: any ProcessingModule, place: ConnectionTable.Place, post: Post, pool: SlabPool,
    identities: (own: ConnectionIdentity, peer: ConnectionIdentity)
  ) {
    self.module = module
    description = type(of: module).description
    self.place = place
    self.post = post
    self.pool = pool.lent(arena)
    sides = [Side(identity: identities.own), Side(identity: identities.peer)]
    unsafe own = .allocate(capacity: description.counters.count)
    unsafe own.initialize(repeating: 0)
  }

  deinit { unsafe own.deallocate() }

  // MARK: The engine's side

  /// Hands segments over, where there is room for all; the caller keeps the references until they are returned.
  func hand(_ segments: some Collection<Segment>, isPeer: Bool) -> Bool { ring.push(segments, isPeer: isPeer) }

  /// Says that nothing comes behind what was handed over.
  func end(isPeer: Bool) {
    isPeer
      ? peerEnd.store(true, ordering: .sequentiallyConsistent) : ownEnd.store(true, ordering: .sequentiallyConsistent)
  }

  /// Says that everything must be released now.
  func expire(isPeer: Bool) {
    isPeer
      ? peerExpiry.store(true, ordering: .sequentiallyConsistent)
      : ownExpiry.store(true, ordering: .sequentiallyConsistent)
  }

  /// Has the thread look at what was said since.
  func wake() { bell.ring() }

  func adopt(_ prototype: any ProcessingModule) { order(.adopt(prototype)) }
  func tell(_ change: ConnectionChange) { order(.change(change)) }
  /// Has the module come to an end, as soon as it may.
  func retire() { order(.retire) }
  /// Has the thread end, whatever the module is about; it may be in the middle of a call.
  package func end() { order(.end) }

  private func order(_ order: Order) {
    orders.withLock { $0.append(order) }
    hasOrders.store(true, ordering: .sequentiallyConsistent)
    bell.ring()
  }

  /// Keeps what lies in `queue` for as long as the thread may look at it.
  func pin(_ queue: SegmentQueue, in pool: SlabPool) {
    var copy = queue.copy(in: pool)
    copy.move(all: &limbo)
  }

  /// Lets go of what was kept, once the thread is gone.
  func unpin(in pool: SlabPool) { limbo.removeAll(in: pool) }

  /// Whether ``serve()`` has done all that it was given, and waits for more; for those who give it.
  package var isIdle: Bool {
    // Asked in this order, for the thread takes in what is new after it has ceased to wait.
    ring.isEmpty && !hasOrders.load(ordering: .sequentiallyConsistent)
      && !ownEnd.load(ordering: .sequentiallyConsistent) && bell.isAwaited
  }

  /// Whether the module waits by itself, so that only ``serve()`` will do.
  package var needsThread: Bool { description.needsThread }

  /// What the thread has returned, in order.
  func takeReturns() -> [ModuleReturn] { returns.takeAll() }

  // MARK: The thread's side

  private func clock() -> Instant { post.starter.now() }

  /// Runs the module until it is not wanted any more. To be called once, on a thread that may wait.
  public func serve() {
    if description.needsThread {
      runModule()
    } else {
      while step() { waitForWork() }
    }
    leave()
  }

  /// Runs a module that waits for its bytes itself. `pm set` ends the reading, and begins it anew with what is there.
  private func runModule() {
    var window = makeWindow(SegmentQueue(), 0, isFinal: false, mustRelease: false, reader: self)
    while !isOver, !isRetiring, !sides[0].isEndTold {
      adopted = nil
      var working = module
      do {
        try working.run(&window)
      } catch {
        window.fail("it threw: \(error)")
      }
      module = adopted.map { working.adopting($0) } ?? working
      let isDone = adopted == nil && !isOver && !isRetiring && !sides[0].isEndTold
      // It has returned of its own accord: what it leaves behind goes on.
      if isDone, window.requests.fault == nil, window.requests.fate == nil { window.offload() }
      // What has come meanwhile, the end too, is told by the first read of the next reading.
      let result = window.exchange(more: SegmentQueue(), mustRelease: false, isFinal: false, now: clock())
      post(result, isPeer: false)
    }
  }

  /// Lets the module work on what has come, and says whether there is more to come. To be called on one thread at a time, not
  /// beside ``serve()``, for modules that do not need a thread; once it answers false, ``leave()`` is due.
  @discardableResult
  public func step() -> Bool {
    guard !isOver else { return false }
    takeIn()
    endIfWanted()
    for index in sides.indices where !isOver { work(index) }
    endIfWanted()
    // The connection is remembered for longer than a thread is of use to it.
    if isClosed, sides[0].isEndTold, !description.peer || sides[1].isEndTold { isOver = true }
    return !isOver
  }

  /// Lets the module come to its end where that is wanted and it may. Where it may not yet, the engine is told to hand on what
  /// comes.
  private func endIfWanted() {
    guard isRetiring, !isOver else { return }
    if module.retire() {
      isOver = true
    } else if !isStaying {
      isStaying = true
      post(ModuleReturn(isPeer: false, isStaying: true))
    }
  }

  /// Says that nothing is touched any more; after ``step()`` has answered false.
  public func leave() {
    post(ModuleReturn(isPeer: false, own: takeCounts(), isGone: true))
  }

  private func work(_ index: Int) {
    let now = clock()
    let mustRelease =
      index == 0
      ? ownExpiry.exchange(false, ordering: .sequentiallyConsistent)
      : peerExpiry.exchange(false, ordering: .sequentiallyConsistent)
    let isEnding = sides[index].isEnded && !sides[index].isEndSeen
    let isAwake = sides[index].wake.map { $0 <= now } ?? false
    guard sides[index].fresh || isEnding || isAwake || (mustRelease && !sides[index].queue.isEmpty) else { return }
    sides[index].fresh = false
    if isAwake { sides[index].wake = nil }
    var queue = SegmentQueue()
    swap(&queue, &sides[index].queue)
    var window = makeWindow(
      queue, index, isFinal: sides[index].isEnded,
      mustRelease: mustRelease || (sides[index].isEnded && !description.paces), reader: nil)
    do {
      if index == 0 { try module.process(&window) } else { try module.processPeer(&window) }
    } catch {
      window.fail("it threw: \(error)")
    }
    // What it does not release at the end goes on as it is.
    if isEnding, !description.paces { window.releaseAll() }
    sides[index].isEndSeen = sides[index].isEnded
    let result = window.exchange(more: SegmentQueue(), mustRelease: false, isFinal: false, now: now)
    sides[index].queue = window.takeQueue()
    sides[index].isEndTold = sides[index].isEnded && sides[index].queue.count == 0
    post(result, isPeer: index == 1)
  }

  private func makeWindow(
    _ queue: consuming SegmentQueue, _ index: Int, isFinal: Bool, mustRelease: Bool, reader: (any WindowReader)?
  ) -> Window {
    let setting = unsafe Window.Setting(
      identity: sides[index].identity, mayEdit: description.access == .edit, own: own, reader: reader)
    return Window(queue, pool: pool, setting: setting, now: clock(), mustRelease, isFinal)
  }

  /// Takes in what was handed over, and what was ordered.
  private func takeIn() {
    // Whether more comes is asked first: what came before that answer is in the ring.
    let isEnded = [
      ownEnd.load(ordering: .sequentiallyConsistent), peerEnd.load(ordering: .sequentiallyConsistent),
    ]
    while let entry = ring.pop() {
      var segment = entry.segment
      if segment.slab == .none { segment = .removed(segment.source, segment.sourceCount) }
      sides[entry.isPeer ? 1 : 0].queue.append(segment)
      sides[entry.isPeer ? 1 : 0].fresh = true
    }
    for index in sides.indices { sides[index].isEnded = isEnded[index] }
    guard hasOrders.exchange(false, ordering: .sequentiallyConsistent) else { return }
    let list = orders.withLock { list in
      defer { list = [] }
      return list
    }
    for order in list {
      switch order {
      case .adopt(let prototype) where description.needsThread: adopted = prototype
      case .adopt(let prototype): module = module.adopting(prototype)
      case .change(let change):
        module.connection(change)
        if change == .closed { isClosed = true }
      case .retire: isRetiring = true
      case .end: isOver = true
      }
    }
  }

  private func waitForWork() {
    let wake = sides.compactMap(\.wake).min().map { max(0, $0 - clock()) }
    bell.wait(for: wake) { self.hasNews }
  }

  /// Whether there is something that was not there before.
  private var hasNews: Bool {
    !ring.isEmpty || hasOrders.load(ordering: .sequentiallyConsistent)
      || (ownEnd.load(ordering: .sequentiallyConsistent) && !sides[0].isEndSeen)
      || (peerEnd.load(ordering: .sequentiallyConsistent) && !sides[1].isEndSeen)
      || (ownExpiry.load(ordering: .sequentiallyConsistent) && !sides[0].queue.isEmpty)
      || (peerExpiry.load(ordering: .sequentiallyConsistent) && !sides[1].queue.isEmpty)
  }

  // MARK: Returns

  private func post(_ result: Window.Result, isPeer: Bool) {
    if let wake = result.requests.wake { sides[isPeer ? 1 : 0].wake = clock() + wake }
    let isEnded = sides[isPeer ? 1 : 0].isEndTold
    var taken = (octets: 0, numbers: 0)
    var segments: [Segment] = []
    var inserted: [UInt8] = []
    var released = 0
    for segment in result.released.segments {
      taken.octets += segment.taken
      taken.numbers += Int(segment.sourceCount)
      released += segment.count
      guard description.access == .edit else { continue }
      guard segment.slab.isInserted else {
        segments.append(segment)
        continue
      }
      let start = UInt32(inserted.count)
      unsafe inserted.append(contentsOf: arena.bytes(segment.slab, segment.start, segment.end))
      segments.append(.inserted(segment.slab, start, UInt32(inserted.count)))
      arena.drop(segment.slab, octets: segment.count)
    }
    let own = takeCounts()
    guard
      !segments.isEmpty || released > 0 || taken.octets > 0 || isEnded || !own.isEmpty || !result.requests.isEmpty
    else { return }
    if result.requests.fault != nil || result.requests.fate != nil || result.requests.isOffloading { isOver = true }
    post(
      ModuleReturn(
        isPeer: isPeer, released: released, segments: segments, inserted: inserted, taken: taken, edits: result.edits,
        own: own, requests: result.requests, isEnded: isEnded))
  }

  private func post(_ part: ModuleReturn) {
    _ = returns.push(part)
    guard !isPosted.exchange(true, ordering: .sequentiallyConsistent) else { return }
    if post.ready.push(self) { post.starter.wakeEngine() }
  }

  /// What was counted since the last time.
  private func takeCounts() -> [UInt64] {
    guard unsafe own.contains(where: { $0 != 0 }) else { return [] }
    let counts = unsafe Array(own)
    unsafe own.update(repeating: 0)
    return counts
  }
}

extension ModuleExchange: WindowReader {
  func read(_ window: inout Window) -> Bool {
    guard window.requests.fault == nil, window.requests.fate == nil, !isOver, !sides[0].isEndTold else { return false }
    if window.isFinal {
      // The end was told by the last window: what is left of it goes on as it is.
      window.releaseAll()
      sides[0].isEndTold = true
      post(window.exchange(more: SegmentQueue(), mustRelease: true, isFinal: true, now: clock()), isPeer: false)
      return false
    }
    post(window.exchange(more: SegmentQueue(), mustRelease: false, isFinal: false, now: clock()), isPeer: false)
    while true {
      takeIn()
      guard !isOver, !isRetiring, adopted == nil else { return false }
      let now = clock()
      let isExpired = ownExpiry.exchange(false, ordering: .sequentiallyConsistent) && !window.isEmpty
      let isAwake = sides[0].wake.map { $0 <= now } ?? false
      if sides[0].fresh || sides[0].isEnded || isExpired || isAwake {
        sides[0].fresh = false
        if isAwake { sides[0].wake = nil }
        var more = SegmentQueue()
        swap(&more, &sides[0].queue)
        _ = window.exchange(
          more: more, mustRelease: isExpired || sides[0].isEnded, isFinal: sides[0].isEnded, now: now)
        return true
      }
      let wake = sides[0].wake.map { max(0, $0 - now) }
      bell.wait(for: wake) {
        !ring.isEmpty || hasOrders.load(ordering: .sequentiallyConsistent)
          || ownEnd.load(ordering: .sequentiallyConsistent)
          || (ownExpiry.load(ordering: .sequentiallyConsistent) && !window.isEmpty)
      }
    }
  }
}
