/// A segment arrives (RFC 9293 section 3.10.7).
extension Connection {
  /// What a segment says of the peer direction, as its destination is to be told it.
  struct Acknowledgement {
    var number: UInt32
    /// As in the header, scaled.
    var window: UInt16
    var sack: SACKBlocks
    /// Whether it told us anything new.
    var isNews: Bool
    /// Whether any of it differs from what the segment says.
    var isChanged: Bool
    /// Whether it tells of what is ours to deliver, and has nothing for the source.
    var isStale: Bool
  }

  /// Takes a segment of a connection whose handshake has been seen, and says what becomes of its packet.
  mutating func segmentArrived(_ arrival: Arrival, _ direction: Direction, _ environment: inout Environment) -> Verdict
  {
    if isNearWindow(arrival, direction) {
      self[direction].learn(arrival)
      noteUrgent(arrival, direction)
    }
    if arrival.isSYN {
      if isRepeated(arrival, direction) {
        self[direction].sender.roundTrip.sentAgain()
        return synPassed(arrival, direction, &environment)
      }
      // An answer to a SYN that is not known here would open what nobody reads.
      if direction == .toClient, arrival.tcp.flags.contains(.ack),
        phase == .synReceived || arrival.tcp.acknowledgement != self[.toServer].start.raw
      {
        return .drop
      }
      // The ends settle it between them (RFC 5961 section 4).
      return .accept(mark: mark(arrival.metadata.mark, environment.settings.marks))
    }
    if isUndecided(arrival, direction) { return .drop }
    let duplicates = self[direction.opposite].sender.duplicates
    let acknowledgement = acknowledged(by: arrival, direction, environment)
    if arrival.tcp.flags.contains(.rst) {
      return resetArrived(arrival, direction, acknowledgement, &environment)
    }
    if phase == .synReceived, direction == .toServer {
      self[.toClient].sender.synAcknowledged(at: environment.now)
      enter(.established, &environment)
    }

    let verdict: Verdict
    if arrival.payloadCount == 0, !arrival.isFinish {
      verdict = passAcknowledgement(arrival, direction, acknowledgement, &environment)
    } else {
      verdict = dataArrived(arrival, direction, acknowledgement, &environment)
    }
    // The window may have opened for what waits, and what was removed may be acknowledged now.
    if arrival.tcp.flags.contains(.ack) {
      reportEarly(direction.opposite, &environment)
      recoverOwed(direction.opposite, duplicates: duplicates, arrival.tcp.options.sack, &environment)
    }
    // A source that cannot send on would never send what the modules wait for.
    if self[direction].pipeline.held > self[direction].sender.paced,
      self[direction].sender.isShut(at: self[direction].receiver.next)
    {
      acknowledgeHeld(direction, &environment)
    }
    for direction in Direction.allCases {
      flush(direction, &environment)
      armRetransmission(direction, environment)
    }
    if phase == .established, self[.toServer].sender.isFinished, self[.toClient].sender.isFinished {
      enter(.timeWait, &environment)
    }
    return verdict
  }

  // MARK: Acknowledgements

  /// Takes the acknowledgement, window and SACK blocks of a segment, and translates them.
  private mutating func acknowledged(
    by arrival: Arrival, _ direction: Direction, _ environment: borrowing Environment
  ) -> Acknowledgement {
    let peer = direction.opposite
    let tcp = arrival.tcp
    var result = Acknowledgement(
      number: tcp.acknowledgement, window: tcp.window, sack: tcp.options.sack, isNews: false, isChanged: false,
      isStale: false)
    guard tcp.flags.contains(.ack) else { return result }
    let number = OutSequence(tcp.acknowledgement)
    let scale = self[peer].sender.windowScale
    let window = Int(tcp.window) << Int(scale)
    let isPlausible = isNearWindow(arrival, direction)
    result.isNews =
      isPlausible
      && self[peer].sender.acknowledge(
        number, window: window, isBare: arrival.payloadCount == 0 && !arrival.isFinish, at: environment.now,
        in: environment.pool)
    if isPlausible { self[peer].sender.noteArrived(tcp.options.sack) }
    // A source that has been told of everything, and asks, is to have the answer.
    result.isStale =
      !result.isNews && self[peer].sender.owes && self[peer].sender.told < self[peer].receiver.next
    result.isNews = result.isNews || result.sack.count > 0
    // What has not left cannot have arrived: the source must not let go of it.
    let isOfSent = self[peer].sender.next - number >= 0
    let toldBefore = self[peer].sender.told
    let told =
      isPlausible && isOfSent ? self[peer].sender.translate(number, window: window) : self[peer].sender.current()
    if isPlausible, self[peer].sender.isJoining, told.acknowledgement == toldBefore, result.sack.isEmpty {
      result.isNews = false
      result.isStale = true
    }
    // Where nothing edits, what the ends tell each other is their own matter.
    guard !isTransparent(peer),
      !self[peer].sender.map.isIdentity || told.acknowledgement.raw != number.raw || !tcp.options.sack.isEmpty
    else { return result }
    result.number = told.acknowledgement.raw
    result.window = UInt16(clamping: told.window >> Int(scale))
    result.sack = self[peer].sender.translate(tcp.options.sack)
    result.isChanged =
      result.number != tcp.acknowledgement || result.window != tcp.window || result.sack != tcp.options.sack
    return result
  }

  /// Whether the numbers of a segment are near the window of its direction. Of others its destination takes no notice
  /// (RFC 9293 section 3.10.7.4), so neither do we: whoever forges them has to guess.
  private func isNearWindow(_ arrival: Arrival, _ direction: Direction) -> Bool {
    return arrival.sequence - self[direction].sender.told >= -65_536
      && arrival.sequence - self[direction].sender.offeredEdge <= 65_536
  }

  /// Lets a segment without data pass, mapped.
  private mutating func passAcknowledgement(
    _ arrival: Arrival, _ direction: Direction, _ acknowledgement: Acknowledgement, _ environment: inout Environment
  ) -> Verdict {
    // What the source has to be told together with it says the same, in one word.
    let isRepeated = acknowledgement.sack.isEmpty && self[direction.opposite].sender.jointAtHand?.isTold == false
    // Not so a keep-alive, which asks the source whether it lives.
    if acknowledgement.isStale || isRepeated, arrival.sequence >= self[direction].receiver.next { return .drop }
    var acknowledgement = acknowledgement
    let sequence = mapped(arrival.sequence, direction)
    let isExtended = addEarlyBlocks(to: &acknowledgement, of: direction.opposite, at: environment.now)
    guard sequence.raw != arrival.tcp.sequence || acknowledgement.isChanged || isExtended else {
      return .accept(mark: mark(arrival.metadata.mark, environment.settings.marks))
    }
    return sendBare(arrival, direction, sequence, acknowledgement, isFresh: isExtended, &environment)
  }

  /// The number for a segment that carries no new octets.
  private func mapped(_ sequence: InSequence, _ direction: Direction) -> OutSequence {
    if self[direction].sender.map.isIdentity { return OutSequence(sequence.raw) }
    let next = self[direction].receiver.next
    if sequence >= next { return self[direction].sender.next }
    // Keep-alives and window probes (RFC 9293 section 3.8.4) stand one in front of what comes next, on either side. What the
    // destination has not acknowledged comes next there: it may have dropped that.
    if sequence + 1 == next { return self[direction].sender.unacknowledged + -1 }
    return .earlier(self[direction].sender.map.start(sequence), self[direction].sender.next)
  }

  // MARK: Resets

  /// Lets a RST pass with its number mapped; the exact one ends the connection (RFC 5961 section 3).
  private mutating func resetArrived(
    _ arrival: Arrival, _ direction: Direction, _ acknowledgement: Acknowledgement, _ environment: inout Environment
  ) -> Verdict {
    let next = self[direction].receiver.next
    // The destination takes only the exact number, so one that is not must not become so. What modules hold it never gets.
    let sequence: OutSequence
    if arrival.sequence >= next {
      sequence = self[direction].sender.next + (arrival.sequence - next)
    } else if let image = self[direction].sender.map.image(arrival.sequence) {
      sequence = image
    } else {
      // What is acknowledged stays in front of all that the destination may expect, and what was removed goes behind it.
      let distance =
        arrival.sequence - self[direction].sender.map.acknowledgement(self[direction].sender.unacknowledged)
      sequence = (distance > 0 ? self[direction].sender.next : self[direction].sender.unacknowledged) + distance
    }
    if arrival.sequence == next { enter(.closed, &environment) }
    guard sequence.raw != arrival.tcp.sequence || acknowledgement.isChanged else {
      return .accept(mark: mark(arrival.metadata.mark, environment.settings.marks))
    }
    return sendBare(arrival, direction, sequence, acknowledgement, isFresh: false, &environment)
  }

  // MARK: Data

  private mutating func dataArrived(
    _ arrival: Arrival, _ direction: Direction, _ acknowledgement: Acknowledgement, _ environment: inout Environment
  ) -> Verdict {
    let next = self[direction].receiver.next
    if arrival.payloadCount == 1, !arrival.isFinish, arrival.sequence + 1 == next, self[direction].sender.isIdle,
      self[direction].pipeline.held == 0
    {
      // A keep-alive with an octet of garbage (RFC 9293 section 3.8.4): the answer is the destination's to give.
      let sequence = mapped(arrival.sequence, direction)
      return passWhole(arrival, direction, sequence, acknowledgement, &environment)
    }
    switch self[direction].receiver.classify(
      arrival.sequence, count: arrival.payloadCount, isFinish: arrival.isFinish)
    {
    case .inOrder(let offset) where next > acceptableEdge(direction):
      // Where it begins with octets that have been here before, the destination may well take all of it.
      return offset == 0
        ? unacceptableArrived(arrival, direction, acknowledgement, &environment)
        : oldArrived(arrival, direction, acknowledgement, &environment)
    case .early where !isEarlyInWindow(arrival, direction):
      return unacceptableArrived(arrival, direction, acknowledgement, &environment)
    case .inOrder(let offset):
      return inOrderArrived(arrival, offset, direction, acknowledgement, &environment)
    case .early:
      return earlyArrived(arrival, direction, acknowledgement, &environment)
    case .old:
      return oldArrived(arrival, direction, acknowledgement, &environment)
    }
  }

  /// Whether a segment before its turn begins in the window that its source has been offered, and in front of its FIN.
  private func isEarlyInWindow(_ arrival: Arrival, _ direction: Direction) -> Bool {
    let distance = arrival.sequence - self[direction].receiver.next
    return !self[direction].receiver.isEnded && distance > 0
      && distance <= acceptableEdge(direction) - self[direction].receiver.next
  }

  /// The edge in front of which a segment has to begin. Where packets pass unread, a source that guesses well may have one
  /// meet an opening of the window that is not yet known here: what could be taken there is kept here.
  private func acceptableEdge(_ direction: Direction) -> InSequence {
    self[direction].sender.offeredEdge + (isTransparent(direction) ? 65_536 : 0)
  }

  /// A segment beyond the window: its destination would drop it. It is not kept, and does not pass, for what passes must be
  /// read.
  private mutating func unacceptableArrived(
    _ arrival: Arrival, _ direction: Direction, _ acknowledgement: Acknowledgement, _ environment: inout Environment
  ) -> Verdict {
    passOn(arrival, direction, acknowledgement, &environment)
  }

  /// The next octets of the stream: through the pipeline, and out as far as the modules release them.
  private mutating func inOrderArrived(
    _ arrival: Arrival, _ offset: Int, _ direction: Direction, _ acknowledgement: Acknowledgement,
    _ environment: inout Environment
  ) -> Verdict {
    // It does not stay behind: half of all numbers further on it would seem to lie ahead.
    self[direction].passedEdge = .later(self[direction].passedEdge, self[direction].sender.unacknowledged)
    let before = (
      jumps: self[direction].sender.map.jumps, input: self[direction].sender.map.inputEnd,
      output: self[direction].sender.map.outputEnd, pending: self[direction].sender.pending,
      number: arrival.sequence
    )
    var stream = environment.spareQueues.take()
    var isWhole = true
    let isReported = usesSACK && self[direction].early?.isReported == true
    let isTold = self[direction].early?.isPending == false
    let completes =
      !self[direction].receiver.outOfOrder.isEmpty && !isTransparent(direction) && (isReported || !usesSACK)
    if arrival.payloadCount > offset {
      guard !self[direction].sender.isFull, hasRoom(direction, environment.pool),
        let segment = kept(arrival, from: offset, environment.pool)
      else {
        environment.counters.overLimit += 1
        return passOn(arrival, direction, acknowledgement, &environment)
      }
      isWhole = self[direction].receiver.accept(segment, to: &stream, in: environment.pool)
      self[direction].postponeEarly(at: environment.now)
    }
    if arrival.isFinish { self[direction].receiver.acceptFinish(arrival.sequence + arrival.payloadCount) }
    self[direction].octetsIn += UInt64(stream.count)
    runPipeline(direction, &stream, &environment)
    if completes {
      let next = self[direction].receiver.dataEnd
      self[direction].sender.acknowledgesTogether(
        Sender.Joint(
          start: arrival.sequence, waited: (left: .earlier(arrival.sequence + arrival.payloadCount, next), right: next),
          edge: self[direction].sender.map.outputEnd, arrivedEdge: self[direction].receiver.outOfOrder.end ?? next,
          isReported: isReported, isTold: isTold))
    }

    let count = arrival.payloadCount + (arrival.isFinish ? 1 : 0)
    let isUntouched =
      isWhole && fits(arrival) && offset == 0 && before.pending == 0 && before.jumps == self[direction].sender.map.jumps
      && before.input == before.number
      && self[direction].sender.map.inputEnd >= before.input + count
    if isUntouched, before.output + count <= self[direction].sender.windowEdge || self[direction].sender.map.isIdentity
    {
      self[direction].sender.sent(upTo: before.output + count, at: environment.now)
      let verdict = passWhole(arrival, direction, before.output, acknowledgement, &environment)
      // What waited behind it may have passed already, or leaves now.
      self[direction].sender.sent(
        upTo: .earlier(self[direction].sender.map.outputEnd, self[direction].passedEdge), at: environment.now)
      transmitPending(direction, &environment)
      return verdict
    }
    if offset > 0 {
      // The front of it is a retransmission, and may be what the destination lacks.
      resend(from: arrival.sequence, upTo: arrival.sequence + offset, direction, nil, &environment)
    }
    let from = self[direction].sender.next
    let upTo = self[direction].sender.sendable
    let vehicle = Vehicle(arrival: arrival, acknowledgement: acknowledgement)
    let verdict = transmit(from: from, upTo: upTo, direction, vehicle, &environment)
    // What waited behind it may have passed already, beyond the window as well.
    self[direction].sender.sent(
      upTo: .earlier(self[direction].sender.map.outputEnd, self[direction].passedEdge), at: environment.now)
    return verdict ?? probe(direction, vehicle, &environment)
      ?? passOn(arrival, direction, acknowledgement, &environment)
  }

  /// A segment before its turn: it waits. Where nothing edits, its packet passes as well, so that the destination tells its
  /// source what is missing; else the source is told here.
  private mutating func earlyArrived(
    _ arrival: Arrival, _ direction: Direction, _ acknowledgement: Acknowledgement, _ environment: inout Environment
  ) -> Verdict {
    environment.counters.outOfOrder += 1
    let isFirst = self[direction].receiver.outOfOrder.isEmpty
    let passes = passesUnread(arrival, direction) && fits(arrival)
    if arrival.payloadCount > 0 {
      let isInWindow = passes || arrival.sequenceEnd <= self[direction].sender.offeredEdge + 1
      guard isInWindow, hasRoom(direction, environment.pool),
        let segment = kept(arrival, from: 0, environment.pool)
      else {
        environment.counters.overLimit += 1
        return passOn(arrival, direction, acknowledgement, &environment)
      }
      let outcome = self[direction].receiver.keep(segment, in: environment.pool)
      environment.pool.release(segment.slab)
      if outcome == .refused { environment.counters.overLimit += 1 }
      // Neither may a second copy that differs from the one that waits reach the destination, nor what is not kept: there
      // would be octets that no module ever reads. The source sends it again.
      guard outcome == .kept else {
        return passOn(arrival, direction, acknowledgement, &environment)
      }
    }
    if arrival.isFinish { self[direction].receiver.acceptFinish(arrival.sequence + arrival.payloadCount) }
    if passes {
      self[direction].passedEdge = .later(self[direction].passedEdge, OutSequence(arrival.sequenceEnd.raw))
      return passWhole(arrival, direction, OutSequence(arrival.tcp.sequence), acknowledgement, &environment)
    }
    if noteEarly(arrival, direction, &environment) {
      // A duplicate acknowledgement for every segment, as a receiver gives it (RFC 5681 section 3.2).
      acknowledgeToSource(direction, &environment)
    } else if isFirst {
      // The destination may sit on its acknowledgement of what came before, and until it comes the source would take that
      // for lost as well: an octet sent again draws it out.
      let next = self[direction].sender.next
      if self[direction].sender.inFlight > 0 {
        self[direction].sender.resendsHere(from: next + -1, upTo: next)
        _ = transmit(from: next + -1, upTo: next, direction, nil, &environment)
      }
    }
    return passOn(arrival, direction, acknowledgement, &environment)
  }

  /// Whether packets of `direction` may pass before the modules have read them: nothing edits there, and nothing has.
  func isTransparent(_ direction: Direction) -> Bool {
    self[direction].sender.map.isIdentity && self[direction].sender.map.jumps == 0 && !self[direction].sender.hasOwned
      && !self[direction].pipeline.isEditing(instances)
  }

  /// Whether a segment before its turn may pass. While a new configuration waits for what has passed this way to be read,
  /// no more of it is let through.
  private func passesUnread(_ arrival: Arrival, _ direction: Direction) -> Bool {
    guard isTransparent(direction) else { return false }
    return !isSettling || OutSequence(arrival.sequenceEnd.raw) <= self[direction].passedEdge
  }

  /// A retransmission: answered with what first left in its place, or with an acknowledgement.
  private mutating func oldArrived(
    _ arrival: Arrival, _ direction: Direction, _ acknowledgement: Acknowledgement, _ environment: inout Environment
  ) -> Verdict {
    if isTransparent(direction), fits(arrival), isAsSent(arrival, direction, environment.pool) {
      doubtSuperPackets(direction, &environment)
      return passWhole(arrival, direction, OutSequence(arrival.tcp.sequence), acknowledgement, &environment)
    }
    if self[direction].sender.isShutOut { acknowledgeHeld(direction, &environment) }
    let vehicle = Vehicle(arrival: arrival, acknowledgement: acknowledgement)
    if let verdict = resend(
      from: arrival.sequence, upTo: arrival.sequenceEnd, direction, vehicle, &environment)
    {
      return verdict
    }
    if let verdict = probe(direction, vehicle, &environment) { return verdict }
    if arrival.sequenceEnd <= self[direction].sender.told || self[direction].sender.canTellSource {
      acknowledgeToSource(direction, &environment)
    } else {
      // Its octets are with the modules, or wait for window: they leave when their time comes. A source that sends again
      // what a module holds may have nothing else in mind until that is acknowledged.
      acknowledgeHeld(direction, &environment)
    }
    return passOn(arrival, direction, acknowledgement, &environment)
  }

  /// Whether what a retransmission carries is what left before, as far as that is not acknowledged yet; octets that the
  /// destination has do not matter to it any more, nor a FIN among them. Behind those a FIN is only where it left before: elsewhere it
  /// would end the stream in front of octets that modules have read.
  private func isAsSent(_ arrival: Arrival, _ direction: Direction, _ pool: SlabPool) -> Bool {
    let start = OutSequence(arrival.tcp.sequence)
    let end = start + arrival.payloadCount
    let first = OutSequence.later(start, self[direction].sender.unacknowledged)
    let last = OutSequence.earlier(end, self[direction].sender.next)
    let finish = self[direction].sender.finish
    guard end <= self[direction].sender.next + (finish == nil ? 0 : -1) else { return false }
    guard !arrival.isFinish || finish == end || end < self[direction].sender.unacknowledged else { return false }
    guard first < last else { return true }
    var isSame = true
    var at = arrival.payloadStart + UInt32(first - start)
    self[direction].sender.eachPiece(from: first, upTo: last) { slab, from, upTo in
      let mine = unsafe pool.bytes(slab, from, upTo)
      let theirs = unsafe pool.bytes(arrival.slab, at, at + (upTo - from))
      if isSame { isSame = unsafe mine.elementsEqual(theirs) }
      at += upTo - from
    }
    return isSame
  }

  /// Whether there may be memory for more of `direction`. The last eighth is for those that have little here: a few whose
  /// destinations take nothing must not have all others stand still.
  private func hasRoom(_ direction: Direction, _ pool: SlabPool) -> Bool {
    guard pool.inUse > pool.limit - pool.limit / 8 else { return true }
    return self[direction].sender.backlog + self[direction].pipeline.held
      + self[direction].receiver.outOfOrder.cost < Self.modest
  }
  private static var modest: Int { 128 << 10 }

  /// The octets of a segment from `offset` on in a slab that they may stay in, with one reference; nil where memory is
  /// exhausted. Small payloads move to a slab of their size, so that a keystroke does not hold 72 KiB.
  func kept(_ arrival: Arrival, from offset: Int, _ pool: SlabPool) -> Segment? {
    let start = arrival.payloadStart + UInt32(offset)
    let end = arrival.payloadStart + UInt32(arrival.payloadCount)
    let source = arrival.payloadSequence + offset
    if end - start > SlabPool.small {
      guard pool.inUse <= pool.limit else { return nil }
      pool.retain(arrival.slab)
      return .kept(arrival.slab, start, end, source: source)
    }
    guard let copy = unsafe pool.copy(pool.bytes(arrival.slab, start, end)) else { return nil }
    return .kept(copy.slab, copy.start, copy.end, source: source)
  }

  /// What remains of a packet whose octets do not leave with it: its acknowledgement, where that tells anything new.
  private mutating func passOn(
    _ arrival: Arrival, _ direction: Direction, _ acknowledgement: Acknowledgement, _ environment: inout Environment
  ) -> Verdict {
    guard acknowledgement.isNews else { return .drop }
    return sendBare(arrival, direction, self[direction].sender.next, acknowledgement, isFresh: false, &environment)
  }
}
