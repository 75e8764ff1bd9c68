/// Connections that are read and never edited, for their numbers are not known from the beginning or not ours to shift.
///
/// Their packets pass as they are, whatever they say: reading must not end a connection that would live without it. So what is
/// read here is what a plain receiver would take, but unlike on other connections it is not enforced.
extension Connection {
  /// Never edits the connection from here on.
  mutating func restrict(_ reason: Restriction, _ environment: inout Environment) {
    guard restriction == nil else { return }
    restriction = reason
    environment.counters.restricted(reason)
  }

  /// Takes a segment of a connection that is observed; its packet passes.
  mutating func observe(_ arrival: Arrival, _ direction: Direction, _ environment: inout Environment) {
    let flags = arrival.tcp.flags
    guard phase != .cut else { return }
    self[direction].learn(arrival)
    if phase == .synSent || phase == .synReceived, self[direction.opposite].flowKey != nil {
      enter(.established, &environment)
    }
    guard !flags.contains(.rst) else {
      enter(.closed, &environment)
      return
    }
    if flags.contains(.ack) {
      let number = OutSequence(arrival.tcp.acknowledgement)
      let known = self[direction.opposite].sighting.acknowledged
      self[direction.opposite].sighting.acknowledged = known.map { .later($0, number) } ?? number
      skipUnseen(InSequence(arrival.tcp.acknowledgement), direction.opposite, &environment)
    }
    if flags.contains(.syn) { place(arrival.payloadSequence, direction) }
    if phase != .cut, arrival.payloadCount > 0 || arrival.isFinish { read(arrival, direction, &environment) }
    // What a module has cut off does not pass.
    guard phase != .cut else { return }
    let end = OutSequence((arrival.payloadSequence + arrival.payloadCount + (arrival.isFinish ? 1 : 0)).raw)
    self[direction].sighting.next = self[direction].sighting.next.map { .later($0, end) } ?? end
    if self[.toServer].receiver.isEnded, self[.toClient].receiver.isEnded { enter(.timeWait, &environment) }
  }

  /// Injects resets for the destination of `direction`, with each of the numbers that it may be expecting: behind all that has
  /// passed, and, where some of that may be lost, what it has asked for last (RFC 5961 section 3: it takes none but the exact
  /// one).
  mutating func injectObservedReset(_ direction: Direction, _ environment: inout Environment) {
    let sighting = self[direction].sighting
    let peer = self[direction.opposite].sighting
    let acknowledgement = Acknowledgement(
      number: (peer.acknowledged ?? peer.next)?.raw ?? 0, window: 0, sack: SACKBlocks(), isNews: false,
      isChanged: false, isStale: false)
    let passed = sighting.next ?? sighting.acknowledged ?? self[direction].sender.next
    injectReset(direction, passed, acknowledgement, &environment)
    guard let asked = sighting.acknowledged, asked != passed else { return }
    injectReset(direction, asked, acknowledgement, &environment)
  }

  /// The stream begins at `number`, as far as it is seen here.
  private mutating func place(_ number: InSequence, _ direction: Direction) {
    guard self[direction].reading == .unplaced else { return }
    self[direction].begin(at: number)
    self[direction].reading = .placed
  }

  private mutating func read(_ arrival: Arrival, _ direction: Direction, _ environment: inout Environment) {
    place(arrival.payloadSequence, direction)
    guard self[direction].reading == .placed else { return }
    let sequence = arrival.payloadSequence
    switch self[direction].receiver.classify(sequence, count: arrival.payloadCount, isFinish: arrival.isFinish) {
    case .old: return
    case .early:
      guard arrival.payloadCount > 0 else { break }
      guard let segment = kept(arrival, from: 0, environment.pool) else {
        endReading(direction, &environment)
        return
      }
      let outcome = self[direction].receiver.keep(segment, in: environment.pool)
      environment.pool.release(segment.slab)
      if outcome == .refused { endReading(direction, &environment) }
    case .inOrder(let offset):
      var stream = environment.spareQueues.take()
      if arrival.payloadCount > offset {
        guard let segment = kept(arrival, from: offset, environment.pool) else {
          endReading(direction, &environment)
          return
        }
        _ = self[direction].receiver.accept(segment, to: &stream, in: environment.pool)
      }
      if arrival.isFinish { self[direction].receiver.acceptFinish(sequence + arrival.payloadCount) }
      self[direction].octetsIn += UInt64(stream.count)
      runPipeline(direction, &stream, &environment)
      return
    }
    if arrival.isFinish { self[direction].receiver.acceptFinish(sequence + arrival.payloadCount) }
  }

  /// Ends the reading of `direction` where its destination has octets up to `number` that never came by here: nobody sends
  /// them again.
  private mutating func skipUnseen(
    _ number: InSequence, _ direction: Direction, _ environment: inout Environment
  ) {
    guard self[direction].reading == .placed, number > self[direction].receiver.next else { return }
    endReading(direction, &environment)
  }

  /// Brings the modules of `direction` to the end of their stream, although it goes on.
  private mutating func endReading(_ direction: Direction, _ environment: inout Environment) {
    guard self[direction].reading == .placed else { return }
    environment.counters.gaps += 1
    self[direction].reading = .ended
    self[direction].receiver.removeAll(in: environment.pool)
    self[direction].receiver.acceptFinish(self[direction].receiver.next)
    var stream = environment.spareQueues.take()
    runPipeline(direction, &stream, &environment)
  }
}

extension EngineCounters {
  fileprivate mutating func restricted(_ reason: Restriction) {
    switch reason {
    case .midstream: midstream += 1
    case .oneSided: oneSided += 1
    case .signed: signed += 1
    case .multipath: multipath += 1
    case .synData: synData += 1
    case .translated: translated += 1
    }
  }
}
