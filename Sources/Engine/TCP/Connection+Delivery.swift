/// Delivery that is ours: of octets that were acknowledged to the source before the destination had them, and of octets that
/// no source sends again.
///
/// The source's own retransmissions carry everything else, see ``Connection/resend(from:upTo:_:_:_:)``.
extension Connection {
  /// Acknowledges to the source what is kept here, once the destination has all that is in front of it.
  ///
  /// Of what modules hold: a source whose window, or whose loss recovery, waits for that acknowledgement would otherwise never
  /// send what the module waits for. Of what waits for the destination's window: the source has been offered room for it, and
  /// would take the silence for a loss, and give a destination up that may take its time (RFC 1122 section 4.2.2.17).
  ///
  /// Never of the end: an end that has closed last forgets the connection with that acknowledgement, and answers the next one
  /// with a reset.
  mutating func acknowledgeHeld(_ direction: Direction, _ environment: inout Environment) {
    let isHeld = self[direction].pipeline.held > 0 && self[direction].sender.isIdle
    guard isHeld || self[direction].sender.isShutOut,
      self[direction].receiver.dataEnd > self[direction].sender.told
    else { return }
    self[direction].sender.own(upTo: self[direction].receiver.dataEnd)
    // Without us nobody delivers them: the connection must not go on past us.
    isEdited = true
    acknowledgeToSource(direction, &environment)
  }

  /// When what is held is acknowledged.
  func holdAcknowledgement(_ direction: Direction) -> Instant? {
    guard !isObserved, let since = self[direction].pipeline.heldSince, self[direction].sender.isIdle,
      self[direction].receiver.dataEnd > self[direction].sender.told
    else {
      return nil
    }
    return since + Self.holdGrace
  }

  /// How long octets are held before they are acknowledged: well within the shortest retransmission timeout.
  private static var holdGrace: Nanoseconds { .milliseconds(100) }

  /// Starts, restarts or stops the retransmission timer, as there is something that we owe.
  mutating func armRetransmission(_ direction: Direction, _ environment: borrowing Environment) {
    guard self[direction].sender.owes else {
      self[direction].retransmission = nil
      return
    }
    let state = (edge: self[direction].sender.unacknowledged, backoff: self[direction].sender.roundTrip.backoff)
    if let armed = self[direction].retransmission, armed.edge == state.edge, armed.backoff == state.backoff { return }
    self[direction].retransmission = Half.Retransmission(
      deadline: environment.now + self[direction].sender.roundTrip.timeout, edge: state.edge, backoff: state.backoff)
  }

  /// Sends again what is owed and not acknowledged in time; gives the connection up where the destination stays silent.
  mutating func retransmissionExpired(_ direction: Direction, _ environment: inout Environment) {
    guard let due = self[direction].retransmission?.deadline, due <= environment.now else { return }
    self[direction].sender.roundTrip.expired()
    let lost = self[direction].sender.beginRecovery(isTimeout: true)
    guard self[direction].sender.roundTrip.silence <= RoundTrip.patience else {
      abort(&environment)
      return
    }
    if lost.from < lost.upTo {
      resendHere(lost, direction, &environment)
    } else {
      // The window is closed.
      probe(direction, nil, &environment)
    }
    // Anew in any case: where the timeout doubles no more, it is for the same state as before.
    self[direction].retransmission = nil
    armRetransmission(direction, environment)
  }

  /// Sends again what is owed and seems lost, now that `direction`'s destination has acknowledged something with `blocks`.
  ///
  /// - Parameter duplicates: how many acknowledgements in a row said the same before this one.
  mutating func recoverOwed(
    _ direction: Direction, duplicates: UInt32, _ blocks: SACKBlocks, _ environment: inout Environment
  ) {
    if let missing = self[direction].sender.continueRecovery(blocks) {
      resendHere(missing, direction, &environment)
    } else if self[direction].sender.congestion?.recovery == nil, self[direction].sender.owes,
      isLossShown(direction, duplicates: duplicates, blocks)
    {
      resendHere(self[direction].sender.beginRecovery(blocks, isTimeout: false), direction, &environment)
    }
  }

  /// Whether an acknowledgement with `blocks` shows for the first time that something is lost: it is the third repetition
  /// (RFC 5681 section 3.2), or the last octet under way has arrived, so that no three will come (RFC 5827 section 3.2).
  private func isLossShown(_ direction: Direction, duplicates: UInt32, _ blocks: SACKBlocks) -> Bool {
    if duplicates == 2, self[direction].sender.duplicates == 3 { return true }
    return !blocks.isEmpty && self[direction].sender.duplicates > duplicates && self[direction].sender.isSettled
  }

  /// Sends octets again of our own accord.
  mutating func resendHere(
    _ range: (from: OutSequence, upTo: OutSequence), _ direction: Direction, _ environment: inout Environment
  ) {
    environment.counters.retransmitted += 1
    doubtSuperPackets(direction, &environment)
    self[direction].sender.roundTrip.sentAgain()
    self[direction].sender.resendsHere(from: range.from, upTo: range.upTo)
    _ = transmit(from: range.from, upTo: range.upTo, direction, nil, &environment)
  }

  /// Ends the connection at both ends: what one has sent cannot be delivered to the other as it should be.
  mutating func abort(_ environment: inout Environment) {
    guard phase != .closed else { return }
    for direction in Direction.allCases { injectReset(direction, &environment) }
    environment.counters.aborted += 1
    enter(.closed, &environment)
    for direction in Direction.allCases { self[direction].retransmission = nil }
  }
}
