import DequeModule
import Synchronization

/// What stands between the engine and a module that works on the streams of one connection, on a thread of its own.
///
///     engine   --- segments (ring) ----------->  thread: Window, the module
///     engine   <-- returns: releases, edits ---  thread
///
/// Nothing is copied on the way to the thread, and neither side waits for the other: the engine keeps the references to the
/// slabs until what lies in them is returned. Bytes and numbers are all that is shared.
@safe final class StreamExchange: ModuleExchange, @unchecked Sendable {
  let place: ConnectionTable.Place
  private let ring = SegmentRing()
  /// Whether no more comes, or everything must be released: own direction, peer direction.
  private let ownEnd = Atomic(false)
  private let peerEnd = Atomic(false)
  private let ownExpiry = Atomic(false)
  private let peerExpiry = Atomic(false)

  /// The engine's: what the thread may still look at although nobody else needs it.
  private var limbo = SegmentQueue()

  // The thread's own.
  private var sides: [Side]
  /// What `pm set` has brought, for a module that reads.
  private var adopted: (any ProcessingModule)?
  /// Whether the engine has been told that the module may not come to its end yet.
  private var isStaying = false

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

  init(
    _ module: any ProcessingModule, place: ConnectionTable.Place, origin: Origin, post: Post, pool: SlabPool,
    identities: (own: ConnectionIdentity, peer: ConnectionIdentity)
  ) {
    self.place = place
    sides = [Side(identity: identities.own), Side(identity: identities.peer)]
    super.init(module, origin: origin, post: post, pool: pool)
  }

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

  /// Keeps what lies in `queue` for as long as the thread may look at it.
  func pin(_ queue: SegmentQueue, in pool: SlabPool) {
    var copy = queue.copy(in: pool)
    copy.move(all: &limbo)
  }

  /// Lets go of what was kept, once the thread is gone.
  func unpin(in pool: SlabPool) { limbo.removeAll(in: pool) }

  override var hasWork: Bool { !ring.isEmpty || ownEnd.load(ordering: .sequentiallyConsistent) }

  // MARK: The thread's side

  override func serve() {
    guard description.needsThread else {
      super.serve()
      return
    }
    runModule()
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

  @discardableResult
  override func step() -> Bool {
    guard !isOver else { return false }
    takeIn()
    // What has come of a connection that is gone is of no use any more.
    if isOver { report() }
    endIfWanted()
    for index in sides.indices where !isOver { work(index) }
    guard !isOver else { return false }
    let isClosed = changes.contains { $0.0 == .closed }
    let isDone = isClosed && sides[0].isEndTold && (!description.peer || sides[1].isEndTold)
    if isDone || !isClosed { report() }
    endIfWanted()
    // The connection is remembered for longer than a thread is of use to it.
    if isDone { isOver = true }
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

  override func leave() {
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
    // What was ordered, and whether more comes, is asked first: what came before those answers is in the ring.
    let orders = takeOrders()
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
    for order in orders {
      switch order {
      case .adopt(let prototype) where description.needsThread: adopted = prototype
      case .adopt(let prototype): module = module.adopting(prototype)
      case .change where description.needsThread: break
      case .change(let change, let identity): changes.append((change, identity))
      case .retire: isRetiring = true
      case .end: isOver = true
      }
    }
  }

  override func waitForWork() {
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
    var leaving = Leaving()
    var released = 0
    for segment in result.released.segments {
      taken.octets += segment.taken
      taken.numbers += Int(segment.sourceCount)
      released += segment.count
      if description.access == .edit { leaving.add(segment, from: arena) }
    }
    let own = takeCounts()
    guard
      !leaving.segments.isEmpty || released > 0 || taken.octets > 0 || isEnded || !own.isEmpty
        || !result.requests.isEmpty
    else { return }
    if result.requests.fault != nil || result.requests.fate != nil || result.requests.isOffloading { isOver = true }
    post(
      ModuleReturn(
        isPeer: isPeer, released: released, segments: leaving.segments, inserted: leaving.inserted, taken: taken,
        edits: result.edits,
        own: own, requests: result.requests, isEnded: isEnded))
  }
}

extension StreamExchange: WindowReader {
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
