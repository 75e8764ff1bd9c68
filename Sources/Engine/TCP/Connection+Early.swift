/// What a source is told of segments that came before their turn and wait here.
///
/// With a SACK block for them the source takes for lost whatever is not acknowledged in front of that. What is on its way from
/// here to the destination must not be among it, so the source may have to wait for this word.
extension Connection {
  /// Notes that a segment of `direction` has come before its turn. Returns whether its source may be told of it now, and has
  /// been told of all before.
  mutating func noteEarly(_ arrival: Arrival, _ direction: Direction, _ environment: inout Environment) -> Bool {
    reportEarly(direction, &environment)
    if self[direction].early == nil {
      self[direction].early = Half.Early(
        recent: arrival.sequence, deadline: environment.now + self[direction].sender.roundTrip.bound)
    }
    self[direction].early?.recent = arrival.sequence
    let isTold = tellsEarly(direction, at: environment.now)
    if isTold { self[direction].early?.isReported = true } else { self[direction].early?.isPending = true }
    return isTold
  }

  /// Tells the source of what waits, or has waited, and it has not been told of, where it may be told now.
  ///
  /// All of it, from the front, in as many acknowledgements as that takes: what is left out between two blocks would be taken
  /// for lost.
  mutating func reportEarly(_ direction: Direction, _ environment: inout Environment) {
    guard let edge = edgeOfReport(direction, at: environment.now) else { return }
    if tellsEarly(direction, at: environment.now) {
      self[direction].early?.isPending = false
      self[direction].early?.isReported = true
    }
    if self[direction].sender.jointAtHand != nil { self[direction].sender.jointIsTold() }
    guard usesSACK else {
      acknowledgeToSource(direction, &environment)
      return
    }
    var acknowledgements: [SACKBlocks] = []
    func add(_ left: InSequence, _ right: InSequence) -> Bool {
      guard left < edge else { return false }
      if acknowledgements.last.map({ $0.count == blockLimit }) ?? true {
        guard acknowledgements.count < Self.reportLimit else { return false }
        acknowledgements.append(SACKBlocks())
      }
      let right = InSequence.earlier(right, edge)
      acknowledgements[acknowledgements.count - 1].append(left: left.raw, right: right.raw)
      return true
    }
    self[direction].sender.eachWaited(add)
    self[direction].receiver.outOfOrder.blocks(add)
    // The number alone may be news: it takes the place of an acknowledgement that was kept for this.
    if acknowledgements.isEmpty { acknowledgements = [SACKBlocks()] }
    for blocks in acknowledgements { acknowledgeToSource(direction, blocks: blocks, &environment) }
  }

  /// In front of which number the source is to be told now of what has arrived and it does not know of; nil where there is
  /// nothing of that, or it must not know yet.
  ///
  /// A source takes what it has sent for lost when something that it has sent later has arrived (RFC 8985). So it is told in
  /// the order in which segments came here: when it is told that a missing segment has arrived, also of all that came
  /// before that one.
  func edgeOfReport(_ direction: Direction, at now: Instant) -> InSequence? {
    if self[direction].early?.isPending == true, tellsEarly(direction, at: now) {
      // A FIN that came before its turn has no octets, but what is missing in front of it is to be told.
      return self[direction].receiver.outOfOrder.end ?? self[direction].receiver.next
    }
    guard let joint = self[direction].sender.jointAtHand, !joint.isTold else { return nil }
    return joint.arrivedEdge
  }

  /// Acknowledgements that one report takes at the most.
  private static var reportLimit: Int { 8 }

  /// SACK blocks that find room beside timestamps, or without them.
  private var blockLimit: Int { usesTimestamps ? 3 : 4 }

  /// Adds SACK blocks for what waits to those of the destination of `direction`, where the source has been told of it.
  func addEarlyBlocks(to acknowledgement: inout Acknowledgement, of direction: Direction, at now: Instant) -> Bool {
    guard usesSACK, let early = self[direction].early, !early.isPending, tellsEarly(direction, at: now),
      acknowledgement.number == self[direction].sender.told.raw
    else { return false }
    var blocks = earlyBlocks(direction)
    for index in 0..<acknowledgement.sack.count where blocks.count < blockLimit {
      blocks.append(left: acknowledgement.sack[index].left, right: acknowledgement.sack[index].right)
    }
    acknowledgement.sack = blocks
    return true
  }

  /// Whether the source of `direction` may be told now of what waits: its destination has got the last octet that left, or
  /// has had the time to say so. Where what waits has passed as well, the destination does tell, and it alone knows what was
  /// lost behind us.
  func tellsEarly(_ direction: Direction, at now: Instant) -> Bool {
    guard let early = self[direction].early, !isTransparent(direction) else { return false }
    guard self[direction].sender.told < self[direction].receiver.next else { return true }
    if early.deadline <= now { return true }
    return usesSACK && self[direction].sender.map.inputEnd == self[direction].receiver.next
      && self[direction].sender.pending == 0 && self[direction].sender.isSettled
  }

  /// The SACK blocks for what waits, as many as find room: that of the segment that came last first (RFC 2018 section 4).
  func earlyBlocks(_ direction: Direction) -> SACKBlocks {
    var blocks = SACKBlocks()
    self[direction].receiver.outOfOrder.blocks(recent: self[direction].early?.recent, limit: blockLimit) {
      blocks.append(left: $0.raw, right: $1.raw)
    }
    return blocks
  }
}
