/// Leaving the connection to the kernel, where no module has an interest in it any more.
///
/// Its packets carry the mark *offloaded* from then on; the chain keeps it on the connection, and lets what comes later pass
/// without the daemon.
extension Connection {
  /// Whether it can go on without the engine. Taking note of how far modules have read, for what they have read must be what
  /// arrives: only once the destination has acknowledged it is there nothing left that its source could send again with
  /// other content.
  mutating func mayLeave() -> Bool {
    guard phase == .established, isGivenUp, !isEdited, !isSettling, successor.isEmpty else {
      if readEdges != nil { readEdges = nil }
      return false
    }
    if isObserved { return true }
    let edges = readEdges ?? [self[.toServer].sender.map.outputEnd, self[.toClient].sender.map.outputEnd]
    readEdges = edges
    return Direction.allCases.allSatisfy { isDelivered($0, upTo: edges[$0.rawValue]) }
  }

  /// Whether modules had an interest in it, and none has any more, in either direction.
  private var isGivenUp: Bool {
    guard instances.isGivenUp else { return false }
    return Direction.allCases.allSatisfy { direction in
      self[direction].flowKey != nil && self[direction].pipeline.stages.isEmpty && self[direction].arrivals.isEmpty
        && self[direction].departures.isEmpty
    }
  }

  /// Whether its destination has everything up to `edge`, and what stands behind that is its source's to deliver.
  private func isDelivered(_ direction: Direction, upTo edge: OutSequence) -> Bool {
    self[direction].receiver.outOfOrder.isEmpty && self[direction].sender.pending == 0
      && self[direction].sender.unacknowledged >= edge && !self[direction].sender.owes
  }

  /// Leaves it to the kernel, and gives back what it holds.
  mutating func offload(_ environment: inout Environment) {
    environment.counters.offloaded += 1
    enter(.offloaded, &environment)
    removeAll(in: environment.pool)
    for direction in Direction.allCases {
      self[direction].early = nil
      self[direction].retransmission = nil
    }
  }
}
