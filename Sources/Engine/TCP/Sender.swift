import DequeModule

/// The TCB towards the destination: what left and is not yet acknowledged, what may not leave yet, and the sequence map.
///
///          SND.UNA          SND.NXT              map.outputEnd
///             |  sent, kept    |  waits for window     |
///     --------+----------------+-----------------------+-----> OutSequence
///
/// What left is kept until the destination acknowledges it: the first copy of an octet is the only one that it ever gets,
/// whatever the source sends again.
struct Sender: ~Copyable {
  /// Octets in the retransmit queue.
  private struct Piece {
    var slab: SlabID
    var start: UInt32
    var end: UInt32
    var sequence: OutSequence
  }

  private(set) var map: SequenceMap
  private var queue: Deque<Piece> = []
  /// SND.UNA
  private(set) var unacknowledged: OutSequence
  /// SND.NXT
  private(set) var next: OutSequence
  /// Behind the last octet that the destination is known to have, whatever is missing in front of it.
  private var arrived: OutSequence
  /// The right edge of the destination's window, as it has been seen furthest.
  private(set) var windowEdge: OutSequence

  /// The acknowledgement that the source has been told furthest.
  private(set) var told: InSequence
  /// The right edge of the window that the source has been offered furthest; it is never taken back.
  private(set) var offeredEdge: InSequence

  /// What waited for its turn and left together with what it waited for, see ``acknowledgesTogether(_:)``.
  struct Joint {
    /// Where the segment that was missing begins, and what waited behind that.
    let start: InSequence
    let waited: (left: InSequence, right: InSequence)
    /// All of it.
    let edge: OutSequence
    /// Behind the last octet that had arrived by then, in its turn or not.
    let arrivedEdge: InSequence
    /// Whether SACK blocks have told the source of what waited.
    let isReported: Bool
    /// Whether they have told it of all that had arrived by then.
    var isTold: Bool
  }

  /// What there is only once something was lost, or came before its turn, or has become ours to deliver.
  private struct Trouble {
    var resentEdge: OutSequence?
    var congestion: CongestionWindow?
    var resentHere: (first: OutSequence, last: OutSequence)?
    var joints: Deque<Joint> = []
  }
  private var trouble = Rare<Trouble>()

  /// Has the values of ``trouble`` where there are none yet.
  private mutating func expectTrouble() {
    if trouble.isEmpty { trouble.put(Trouble()) }
  }

  /// Behind what has been sent again and is not yet acknowledged.
  private var resentEdge: OutSequence? {
    get { trouble.isEmpty ? nil : trouble.value.resentEdge }
    set {
      expectTrouble()
      trouble.value.resentEdge = newValue
    }
  }

  /// Octets that modules hold to release them at times of their own: those take of the window that the source is offered.
  var paced: Int {
    get { Int(pacedOctets) }
    set { pacedOctets = UInt32(clamping: newValue) }
  }
  private var pacedOctets: UInt32 = 0

  /// Whether something has been acknowledged to the source before the destination had it.
  private(set) var hasOwned = false

  /// Whether the octet at SND.UNA has left beyond the closed window, to ask for how long.
  private var hasProbed = false

  /// Shift of the windows that the destination announces (RFC 7323), 0 until its SYN has been seen.
  var windowScale: UInt8 = 0
  /// Payload octets of the largest segment that the destination takes, options of ours deducted.
  var maximumSegment: Int {
    get { Int(segment) }
    set { segment = UInt16(clamping: newValue) }
  }
  private var segment: UInt16 = 536

  /// How much of what is owed may be under way; nil until something has been.
  private(set) var congestion: CongestionWindow? {
    get { trouble.isEmpty ? nil : trouble.value.congestion }
    set {
      expectTrouble()
      trouble.value.congestion = newValue
    }
  }
  /// From the first to the last of what has been sent again here and by nobody's wish; D-SACK of that is not the source's.
  private var resentHere: (first: OutSequence, last: OutSequence)? {
    get { trouble.isEmpty ? nil : trouble.value.resentHere }
    set {
      expectTrouble()
      trouble.value.resentHere = newValue
    }
  }
  /// Duplicate acknowledgements in a row (RFC 5681 section 2).
  private(set) var duplicates: UInt32 = 0

  /// Octets of those that modules hold for which the source is offered window in their place.
  var holdCredit: Int {
    get { Int(credit) }
    set { credit = UInt32(clamping: newValue) }
  }
  private var credit: UInt32 = 0

  /// Octets that have left, each counted once.
  private(set) var octetsOut: UInt64 = 0

  /// How long acknowledgements take.
  var roundTrip = RoundTrip()

  /// The number of the FIN, once the stream has ended.
  private(set) var finish: OutSequence?

  /// Octets of a small piece, which is copied behind the one before it rather than listed by itself.
  private static var smallPiece: Int { 128 }

  /// - Parameter start: the number behind the source's SYN.
  init(start: InSequence) {
    map = SequenceMap(start: start)
    unacknowledged = OutSequence(start.raw)
    next = unacknowledged
    arrived = unacknowledged
    windowEdge = unacknowledged
    told = start
    offeredEdge = start
  }

  /// Octets and FIN that wait for window.
  var pending: Int { map.outputEnd - next }
  /// Octets that are here until they are acknowledged.
  var backlog: Int { map.outputEnd - unacknowledged }
  /// Octets and FIN that left and are not acknowledged.
  var inFlight: Int { next - unacknowledged }
  /// Whether so much waits for its acknowledgement that no more is taken before some of it comes. No honest window is as
  /// large; two ends that work together must not have all of our memory.
  var isFull: Bool {
    backlog > Self.octetLimit || queue.count + map.runCount + jointCount > Self.entryLimit
  }
  private var jointCount: Int { trouble.isEmpty ? 0 : trouble.value.joints.count }
  private static var octetLimit: Int { 64 << 20 }
  private static var entryLimit: Int { 262_144 }
  /// Whether all that came has left and has been acknowledged.
  var isIdle: Bool { unacknowledged == map.outputEnd }
  /// Whether the destination has all that it has room for, and something waits for more room.
  var isShutOut: Bool { unacknowledged < map.outputEnd && unacknowledged >= windowEdge }
  /// Whether there are octets that nobody but us delivers: those in front of what was acknowledged to the source already,
  /// those for which the source has nothing to send again, and those of which SACK blocks have told it that they are here.
  var owes: Bool { owns || (firstJoint?.isReported == true && unacknowledged < map.outputEnd) }
  /// Whether some of those were never under way by the source's congestion control.
  private var owns: Bool {
    unacknowledged < map.outputEnd && (told >= map.inputEnd || unacknowledged < map.start(told))
  }
  /// Whether the FIN has been acknowledged.
  var isFinished: Bool { finish.map { unacknowledged > $0 } ?? false }
  /// Behind the last number that may leave now: as the destination's window has it, and the congestion window where the
  /// delivery is ours alone.
  var sendable: OutSequence {
    var edge = windowEdge
    if let congestion, owns { edge = .earlier(edge, unacknowledged + congestion.octets) }
    return .earlier(map.outputEnd, .later(edge, next))
  }

  /// What leaves next when it may: what has not left, and before it the octet that probed a closed window. The destination
  /// dropped that one, unless it says otherwise.
  var resumption: OutSequence { hasProbed && unacknowledged < windowEdge ? unacknowledged : next }

  // MARK: What modules release

  /// Takes over everything in `stream`.
  mutating func append(_ stream: inout SegmentQueue, in pool: SlabPool) {
    guard finish == nil else {
      // Behind the FIN nothing can be told to the destination any more.
      stream.removeAll(in: pool)
      return
    }
    while let segment = stream.popFirst() {
      let sequence = map.outputEnd
      map.append(segment, acknowledged: told)
      guard segment.count > 0 else { continue }
      if (segment.count <= Self.smallPiece && !queue.isEmpty) || pins(segment, pool) {
        // Dense edits make many small pieces: packed together they cost their octets and little more.
        let copy = unsafe pool.copyReserved(pool.bytes(segment.slab, segment.start, segment.end))
        pool.release(segment.slab)
        if let last = queue.last, last.slab == copy.slab, last.end == copy.start {
          queue[queue.count - 1].end = copy.end
          pool.release(copy.slab)
        } else {
          queue.append(Piece(slab: copy.slab, start: copy.start, end: copy.end, sequence: sequence))
        }
      } else {
        queue.append(Piece(slab: segment.slab, start: segment.start, end: segment.end, sequence: sequence))
      }
    }
  }

  /// Whether a segment holds a slab many times its size: what is left of a large packet that was mostly removed. Not so where the
  /// piece in front of it holds that slab already, which is acknowledged first.
  private func pins(_ segment: Segment, _ pool: SlabPool) -> Bool {
    let cost = pool.cost(of: segment.slab)
    return cost > 2_048 && segment.count * 8 < cost && queue.last?.slab != segment.slab
  }

  /// Notes that the stream has ended: a FIN leaves behind its last octet.
  mutating func appendFinish() {
    guard finish == nil else { return }
    finish = map.outputEnd
    map.appendKept(1)
  }

  // MARK: What leaves

  /// Notes that the source's SYN passes for the first time: the answer tells how far away the destination is.
  mutating func synSent(at now: Instant) { roundTrip.sent(upTo: unacknowledged, at: now) }

  /// Notes that the destination has answered the SYN.
  mutating func synAcknowledged(at now: Instant) { roundTrip.acknowledged(unacknowledged, at: now) }

  /// Notes that everything in front of `number` has left.
  mutating func sent(upTo number: OutSequence, at now: Instant) {
    guard number > next else { return }
    roundTrip.sent(upTo: number, at: now)
    octetsOut += UInt64(number - next)
    next = number
  }

  /// Notes that one octet leaves although the window is closed and nothing is under way (RFC 9293 section 3.8.6.1).
  mutating func probes() { hasProbed = true }

  /// Notes that what leaves next begins with ``resumption``.
  mutating func resumes() {
    guard resumption < next else { return }
    roundTrip.sentAgain()
    resendsHere(from: resumption, upTo: next)
    hasProbed = false
  }

  /// Calls `body` with the octets from `from` up to `upTo`, piece by piece; the FIN has none.
  func eachPiece(from: OutSequence, upTo: OutSequence, _ body: (SlabID, UInt32, UInt32) -> Void) {
    var low = 0
    var high = queue.count
    while high - low > 1 {
      let middle = (low + high) / 2
      if queue[middle].sequence <= from { low = middle } else { high = middle }
    }
    var at = from
    while low < queue.count, at < upTo {
      let piece = queue[low]
      let skip = at - piece.sequence
      let length = min(Int(piece.end - piece.start) - skip, upTo - at)
      if length > 0 {
        let start = piece.start + UInt32(skip)
        body(piece.slab, start, start + UInt32(length))
        at += length
      }
      low += 1
    }
  }

  // MARK: What the destination says

  /// Takes an acknowledgement and the window of `window` octets that comes with it (RFC 9293 section 3.10.7.4).
  ///
  /// - Parameter isBare: whether the segment carries nothing else, so that a repetition tells of a gap.
  /// - Returns: whether either told something new.
  mutating func acknowledge(
    _ number: OutSequence, window: Int, isBare: Bool, at now: Instant, in pool: SlabPool
  ) -> Bool {
    guard number <= next, number >= unacknowledged else { return false }
    var isNews = false
    if number + window > windowEdge {
      windowEdge = number + window
      isNews = true
    }
    guard number > unacknowledged else {
      if isBare, !isNews, inFlight > 0 { duplicates &+= 1 }
      if number + window <= unacknowledged { roundTrip.heard() }
      return isNews
    }
    duplicates = 0
    hasProbed = false
    if !trouble.isEmpty {
      let (fresh, largest) = (number - unacknowledged, maximumSegment)
      trouble.value.congestion?.acknowledged(fresh, segment: largest)
    }
    unacknowledged = number
    forgetResends()
    roundTrip.acknowledged(number, at: now)
    map.prune(acknowledged: number)
    while let first = queue.first {
      let passed = number - first.sequence
      guard passed > 0 else { break }
      if passed < Int(first.end - first.start) {
        queue[0].start += UInt32(passed)
        queue[0].sequence = number
        break
      }
      pool.release(first.slab)
      queue.removeFirst()
    }
    return true
  }

  /// Takes note of how far the destination has got anything, by its SACK blocks.
  mutating func noteArrived(_ blocks: SACKBlocks) {
    arrived = .later(arrived, unacknowledged)
    for index in 0..<blocks.count {
      let right = OutSequence(blocks[index].right)
      if right <= next { arrived = .later(arrived, right) }
    }
    if let edge = resentEdge, edge <= unacknowledged { resentEdge = nil }
  }

  /// Notes that octets in front of `edge` are sent again.
  mutating func sentAgain(upTo edge: OutSequence) {
    roundTrip.sentAgain()
    resentEdge = resentEdge.map { .later($0, edge) } ?? edge
  }

  /// Whether nothing is under way to the destination as far as is known: it has the last octet that left, so that what it
  /// has not acknowledged is lost, and nothing has been sent again since.
  var isSettled: Bool { arrived >= next && resentEdge == nil }

  /// The first window, of the destination's SYN, which is not scaled.
  mutating func openWindow(_ window: Int) {
    windowEdge = unacknowledged + window
    offeredEdge = .later(offeredEdge, told + window)
  }

  // MARK: What the source is told

  /// Has the source told of everything in `joint` by one acknowledgement, as a receiver gives it that had the later
  /// octets already when the missing ones came.
  ///
  /// Where SACK blocks have told the source of those octets, it takes an acknowledgement in the middle of them for a
  /// receiver that has thrown them away (RFC 2018 section 8), and it does not send them again: what is lost of them is ours
  /// to deliver. Where they have not, it takes the time that they waited here for their round-trip time, and its
  /// retransmission timeout would grow by every loss; it is told as soon as something is missing.
  ///
  /// Where nothing has waited there is nothing to keep together: octets in front of a gap may come one by one. Such a joint is kept
  /// only where the source is to be told, together with it, of what else had arrived.
  mutating func acknowledgesTogether(_ joint: Joint) {
    guard joint.waited.left < joint.waited.right || (joint.isReported && !joint.isTold) else { return }
    expectTrouble()
    trouble.value.joints.append(joint)
  }

  /// The joint that the source is told of next, once it has been told of all in front of it; nil where SACK blocks have no
  /// part in that.
  var jointAtHand: Joint? {
    guard let joint = firstJoint, joint.isReported, told >= joint.start else { return nil }
    return joint
  }

  /// Notes that the source has been told of all that had arrived when the joint at hand was completed.
  mutating func jointIsTold() { trouble.value.joints[0].isTold = true }

  /// Calls `body` with the blocks of what has waited and the source has not been told to be here for good, from the front.
  func eachWaited(_ body: (InSequence, InSequence) -> Bool) {
    // A block that begins with what is to be acknowledged next makes no sense (RFC 2018 section 4).
    guard isJoining else { return }
    for joint in trouble.value.joints
    where joint.isReported && joint.waited.left > told && joint.waited.left < joint.waited.right {
      guard body(joint.waited.left, joint.waited.right) else { return }
    }
  }

  /// Whether acknowledgements are kept for one to come.
  var isJoining: Bool { firstJoint != nil }

  private var firstJoint: Joint? { trouble.isEmpty ? nil : trouble.value.joints.first }

  /// What the source may be told for an acknowledgement of `number`, without what is kept for the one to come.
  private mutating func acknowledgement(_ number: OutSequence) -> InSequence {
    let mapped = map.acknowledgement(number)
    while let joint = firstJoint {
      guard number >= joint.edge || (!joint.isReported && duplicates > 0) else { return .earlier(mapped, joint.start) }
      trouble.value.joints.removeFirst()
    }
    return mapped
  }

  /// What the source is told for the destination's acknowledgement of `number` with a window of `window` octets.
  ///
  /// The window is what the source may send after mapping: up to the number that stands for the right edge, and never
  /// less than it has been offered before.
  mutating func translate(_ number: OutSequence, window: Int) -> (acknowledgement: InSequence, window: Int) {
    // An acknowledgement of what has not left is no word of an honest destination: it opens no window.
    if next - number >= 0 {
      // What has been acknowledged early is not taken back. As long as modules wait for more with it, it takes nothing of the
      // destination's window, and the source may send on, as far as the modules may hold.
      told = .later(told, acknowledgement(number))
      let held = min(max(0, told - map.inputEnd - paced), holdCredit)
      offeredEdge = .later(offeredEdge, map.acknowledgement(.later(windowEdge, number + window)) + held)
    }
    return (told, max(0, offeredEdge - told))
  }

  /// What the source may be told now, without a word of the destination's.
  mutating func current() -> (acknowledgement: InSequence, window: Int) {
    if firstJoint?.isReported == false { trouble.value.joints.removeAll() }
    return translate(unacknowledged, window: windowEdge - unacknowledged)
  }

  /// Takes over the delivery of everything in front of `number`: the source is told that it has arrived.
  mutating func own(upTo number: InSequence) {
    told = .later(told, number)
    hasOwned = true
    if congestion == nil { congestion = .initial(maximumSegment) }
  }

  /// Whether the source cannot send another whole segment into the window that it has been offered.
  func isShut(at next: InSequence) -> Bool { offeredEdge - next < maximumSegment }

  /// Whether more can be acknowledged to the source than it has been told, and no acknowledgement of the destination's is
  /// to be expected that would say so.
  var hasNewsForSource: Bool { inFlight == 0 && canTellSource }

  /// Whether more can be acknowledged to the source than it has been told.
  var canTellSource: Bool { map.acknowledgement(unacknowledged) > told }

  /// The SACK blocks for the source that those of the destination stand for; what collapses is dropped.
  func translate(_ blocks: SACKBlocks) -> SACKBlocks {
    var translated = SACKBlocks()
    for index in 0..<blocks.count {
      let (left, right) = (OutSequence(blocks[index].left), OutSequence(blocks[index].right))
      let block: (left: InSequence, right: InSequence)?
      if left >= unacknowledged {
        block = map.block(left, right)
      } else {
        // The first block in front of SND.UNA reports a duplicate (RFC 2883 section 4).
        block = index == 0 && !isResentHere(left, right) ? map.duplicate(left, right) : nil
      }
      if let block { translated.append(left: block.left.raw, right: block.right.raw) }
    }
    return translated
  }

  /// Notes that the octets from `first` up to `last` are sent again without the source having asked for it.
  mutating func resendsHere(from first: OutSequence, upTo last: OutSequence) {
    guard let old = resentHere else {
      resentHere = (first, last)
      return
    }
    // Resends that follow each other must not make a stretch of half the circle.
    let edge = unacknowledged + -Self.reportLimit
    resentHere = (.earlier(.later(old.first, edge), first), .later(old.last, last))
  }

  /// Forgets what has been sent again here once the destination is past reporting it, before the numbers come round to it.
  private mutating func forgetResends() {
    guard !trouble.isEmpty, let last = trouble.value.resentHere?.last, unacknowledged - last >= Self.reportLimit else {
      return
    }
    trouble.value.resentHere = nil
  }

  /// Octets in front of SND.UNA of which duplicates are reported: what lies a window back is reported no more.
  private static var reportLimit: Int { 1 << 20 }

  private func isResentHere(_ left: OutSequence, _ right: OutSequence) -> Bool {
    resentHere.map { $0.first <= left && right <= $0.last } ?? false
  }

  // MARK: Recovery of what is owed

  /// Notes a loss that an acknowledgement with `blocks`, or a timeout, has told of. Returns what is to be sent again first.
  mutating func beginRecovery(_ blocks: SACKBlocks = SACKBlocks(), isTimeout: Bool) -> (
    from: OutSequence, upTo: OutSequence
  ) {
    var window = congestion ?? .initial(maximumSegment)
    if isTimeout {
      window.expired(inFlight, segment: maximumSegment)
    } else {
      window.lost(inFlight, segment: maximumSegment)
    }
    var upTo = OutSequence.earlier(unacknowledged + maximumSegment, next)
    for index in 0..<blocks.count where OutSequence(blocks[index].left) > unacknowledged {
      upTo = .earlier(upTo, OutSequence(blocks[index].left))
    }
    window.recovery = CongestionWindow.Recovery(point: next, resent: upTo)
    congestion = window
    return (unacknowledged, upTo)
  }

  /// What is to be sent again next in a recovery, now that an acknowledgement with `blocks` has come: what is missing behind
  /// a partial acknowledgement, or the next hole between the blocks.
  mutating func continueRecovery(_ blocks: SACKBlocks) -> (from: OutSequence, upTo: OutSequence)? {
    guard let recovery = congestion?.recovery else { return nil }
    guard owes, unacknowledged < recovery.point else {
      congestion?.recovery = nil
      return nil
    }
    var from = OutSequence.later(unacknowledged, recovery.resent)
    // As often as there are blocks, for they come in any order.
    for _ in 0..<blocks.count {
      for index in 0..<blocks.count where OutSequence(blocks[index].left) <= from {
        from = .later(from, OutSequence(blocks[index].right))
      }
    }
    var upTo = OutSequence.earlier(from + maximumSegment, recovery.point)
    var isHole = from == unacknowledged
    for index in 0..<blocks.count where OutSequence(blocks[index].left) > from {
      isHole = true
      upTo = .earlier(upTo, OutSequence(blocks[index].left))
    }
    // Only what lies in front of something that has arrived is known to be missing.
    guard isHole else { return nil }
    guard from < upTo else { return nil }
    congestion?.recovery?.resent = upTo
    return (from, upTo)
  }

  mutating func removeAll(in pool: SlabPool) {
    while let piece = queue.popFirst() { pool.release(piece.slab) }
  }
}
