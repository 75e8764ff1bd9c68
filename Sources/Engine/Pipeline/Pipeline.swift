/// The stages that the bytes of one direction go through, each with its module and the bytes between its head and tail.
struct Pipeline {
  struct Stage {
    /// Index of the instance among the connection's.
    var instance: Int
    /// Whether the instance works on this direction as its peer.
    var isPeer: Bool
    /// From the module's head (front) to its tail.
    var input = SegmentQueue()
    /// Since when its head has not moved while there was something to release.
    var heldSince: Instant?
    /// Whether the end of the stream has passed.
    var isEnded = false
  }

  var stages: [Stage] = []

  /// Octets held in all stages.
  var held: Int { stages.reduce(0) { $0 + $1.input.count } }

  /// Since when bytes have been held, in the stage that has held longest.
  var heldSince: Instant? {
    stages.reduce(nil) { earliest, stage in
      guard let since = stage.heldSince else { return earliest }
      return earliest.map { min($0, since) } ?? since
    }
  }

  /// The next time at which bytes will have been held for too long.
  ///
  /// - Parameter patience: how many times its hold time a module may hold.
  func deadline(_ instances: [ModuleInstance], patience: Int64) -> Instant? {
    var earliest: Instant?
    for stage in stages {
      guard let since = stage.heldSince else { continue }
      let deadline = since + instances[stage.instance].module.holdTime * patience
      earliest = earliest.map { min($0, deadline) } ?? deadline
    }
    return earliest
  }

  /// Runs the modules over what has come, stage by stage.
  ///
  /// - Parameters:
  ///   - stream: what enters at the first stage; comes back as what the last one released.
  ///   - isEnded: whether nothing comes behind it.
  ///   - patience: how many times its hold time a module may hold; nil where it is not the time to ask.
  mutating func run(
    _ stream: inout SegmentQueue, isEnded: Bool, patience: Int64?, instances: inout [ModuleInstance], pool: SlabPool,
    now: Instant
  ) {
    for index in stages.indices {
      stream.move(all: &stages[index].input)
      let mustEnd = isEnded && !stages[index].isEnded
      if !stages[index].input.isEmpty || mustEnd {
        let isExpired = isExpired(index, patience, instances, now)
        work(index, mustRelease: isEnded || isExpired, isFinal: isEnded, &stream, &instances, pool, now)
        stages[index].isEnded = isEnded
      }
    }
  }

  private func isExpired(_ index: Int, _ patience: Int64?, _ instances: [ModuleInstance], _ now: Instant) -> Bool {
    guard let patience, let since = stages[index].heldSince else { return false }
    return now >= since + instances[stages[index].instance].module.holdTime * patience
  }

  /// Runs one stage's module; what it releases is put at the end of `stream`.
  private mutating func work(
    _ index: Int, mustRelease: Bool, isFinal: Bool, _ stream: inout SegmentQueue, _ instances: inout [ModuleInstance],
    _ pool: SlabPool, _ now: Instant
  ) {
    let instance = stages[index].instance
    let tally = instances[instance].tally
    var released = pass(index, mustRelease, isFinal, &stream, &instances, pool)
    var isForced = mustRelease
    if !isForced, stages[index].input.count > instances[instance].description.holdLimit {
      released += pass(index, true, isFinal, &stream, &instances, pool)
      isForced = true
    }
    if isForced, stages[index].input.count > 0 {
      // The module did not release what it had to: it goes on unedited.
      tally.common.forcedReleases += 1
      let count = stages[index].input.count
      tally.common.octetsOut += UInt64(count)
      stages[index].input.move(first: count, to: &stream, in: pool)
    }
    if stages[index].input.count == 0 {
      stages[index].heldSince = nil
    } else if released > 0 || stages[index].heldSince == nil {
      stages[index].heldSince = now
    }
  }

  /// Calls the module once and moves what it released. Returns the octets released.
  private mutating func pass(
    _ index: Int, _ mustRelease: Bool, _ isFinal: Bool, _ stream: inout SegmentQueue,
    _ instances: inout [ModuleInstance], _ pool: SlabPool
  ) -> Int {
    let instance = stages[index].instance
    let tally = instances[instance].tally
    let isPeer = stages[index].isPeer
    var queue = SegmentQueue()
    swap(&queue, &stages[index].input)
    var window = unsafe Window(queue, pool: pool, own: tally.own, mustRelease: mustRelease, isFinal: isFinal)
    if isPeer {
      instances[instance].module.processPeer(&window)
    } else {
      instances[instance].module.process(&window)
    }
    let released = window.releaseMark
    tally.common.octetsOut += UInt64(released)
    tally.common.edits += window.edits
    tally.common.octetsRemoved += window.removed
    tally.common.octetsInserted += window.inserted
    // What came in is what went out and what is still held, without the edits.
    tally.common.octetsIn = tally.common.octetsOut &+ tally.common.octetsRemoved &- tally.common.octetsInserted
    queue = window.takeQueue()
    queue.move(first: released, to: &stream, in: pool)
    stages[index].input = queue
    return released
  }

  mutating func removeAll(in pool: SlabPool) {
    for index in stages.indices { stages[index].input.removeAll(in: pool) }
  }
}
