import Control
import Engine
import Glibc
import Logging
import Netfilter
import SystemPackage

/// One queue, one engine, one thread: takes packets in batches, gives each its verdict, and sends what the engine makes.
struct Worker: ~Copyable {
  private var queue: QueueSocket
  private var injector: Injector
  private var tracking: ConnectionTracking
  private var engine: Engine
  private let mailbox: Mailbox
  private let threads = ModuleThreads()
  /// Those of the other workers.
  private let others: [Mailbox]
  private let events: EventFeed
  private let skipped: SkippedModules
  private let logger: Logger
  /// Injections of the batch that have been handed over.
  private var injected = 0
  /// Overruns when that was last said.
  private var overruns: UInt64 = 0
  /// Of long packets.
  private var hasWarned = false

  private static var batch: Int { 32 }
  /// Batches taken before requests and timers are looked at.
  private static var batchesInTurn: Int { 16 }

  /// - Parameter mailboxes: those of all workers; this one's is the one at ``Settings/worker``.
  init(
    queue number: UInt16, settings: Settings, mailboxes: [Mailbox], events: EventFeed, skipped: SkippedModules,
    logger: Logger
  ) throws(NetfilterError) {
    let queue = try QueueSocket(number)
    let injector = try Injector()
    var settings = settings
    settings.threads = threads
    settings.superPackets = injector.superPackets
    self.queue = queue
    self.injector = injector
    tracking = ConnectionTracking()
    engine = Engine(settings)
    mailbox = mailboxes[settings.worker.index]
    others = mailboxes.indices.filter { $0 != settings.worker.index }.map { mailboxes[$0] }
    self.events = events
    self.skipped = skipped
    self.logger = logger
  }

  var means: ConnectionTracking.Means { tracking.means }
  var obstacles: [Injector.Obstacle] { injector.obstacles }

  /// Works until it is told to end.
  ///
  /// - Parameters:
  ///   - report: takes ``kernelCounters`` when somebody has asked for them.
  ///   - isEnding: whether to end; asked whenever the mailbox has woken it.
  mutating func run(reporting report: ([String: UInt64]) -> Void, until isEnding: () -> Bool) throws(NetfilterError) {
    var descriptors = [
      pollfd(fd: queue.descriptor.rawValue, events: Int16(POLLIN), revents: 0),
      pollfd(fd: mailbox.descriptor, events: Int16(POLLIN), revents: 0),
      pollfd(fd: threads.descriptor, events: Int16(POLLIN), revents: 0),
    ]
    while true {
      // Without a deadline it wakes up once a minute for nothing.
      let patience = engine.nextDeadline.map { max(0, $0 - Self.now) } ?? .seconds(60)
      let milliseconds = CInt(clamping: (patience + .milliseconds(1) - 1) / .milliseconds(1))
      _ = unsafe poll(&descriptors, nfds_t(descriptors.count), milliseconds)
      if descriptors[1].revents != 0 {
        if answer(reporting: report, until: isEnding) { return }
      }
      if descriptors[2].revents != 0 { threads.drain() }
      // The packets first: what has been returned leaves with them. Where they come faster than they are taken, requests and
      // timers have their turn all the same.
      var batches = 0
      while batches < Self.batchesInTurn, try takeBatch() {
        collect()
        batches += 1
      }
      // Where many wait, there may be too many.
      if batches == Self.batchesInTurn { warnOfOverruns() }
      collect()
      if let due = engine.nextDeadline, due <= Self.now {
        engine.advance(to: Self.now)
        finishBatch()
      }
    }
  }

  /// Does what has been left in the mailbox, and says whether to end.
  private mutating func answer(reporting report: ([String: UInt64]) -> Void, until isEnding: () -> Bool) -> Bool {
    // Asked first, so that nothing that is left before the end is left undone.
    let isEnding = isEnding()
    let content = mailbox.collect()
    // Reported first, so that whoever waits for the work finds it.
    if content.wantsReport { report(kernelCounters) }
    for work in content.work { work(&engine) }
    finishBatch()
    return isEnding
  }

  /// Once it cannot go on: answers requests, so that nobody waits for a worker for ever.
  mutating func answerRequests(reporting report: ([String: UInt64]) -> Void, until isEnding: () -> Bool) {
    var descriptors = [pollfd(fd: mailbox.descriptor, events: Int16(POLLIN), revents: 0)]
    repeat { _ = unsafe poll(&descriptors, 1, -1) } while !answer(reporting: report, until: isEnding)
  }

  /// Takes over what modules on threads of their own have returned.
  private mutating func collect() {
    guard engine.hasReturns else { return }
    engine.collect(at: Self.now)
    finishBatch()
  }

  /// The monotonic clock, read once a batch.
  static var now: Instant {
    let (seconds, attoseconds) = origin.duration(to: .now).components
    return Instant(nanoseconds: seconds * 1_000_000_000 + attoseconds / 1_000_000_000)
  }

  private static let origin = SuspendingClock.now

  /// Takes the packets that wait, and says whether there may be more.
  private mutating func takeBatch() throws(NetfilterError) -> Bool {
    let count = unsafe try queue.receive(into: engine.receiveBuffers(Self.batch))
    guard count > 0 else { return false }
    let now = Self.now
    while let packet = queue.next() {
      if packet.isTruncated || packet.payload.isEmpty {
        let verdict = engine.receive(
          packet.buffer, beginning: packet.payload, metadata: packet.metadata, at: now)
        if case .drop = verdict { warnOfLongPackets() }
        unsafe packet.answer(verdict, pieces: engine.output.pieces, in: &queue.verdicts)
        continue
      }
      var metadata = packet.metadata
      // PREROUTING and OUTPUT.
      metadata.isBeforeTranslation = packet.hook == 0 || packet.hook == 3
      let verdict = engine.receive(packet.buffer, packet: packet.payload, metadata: metadata, at: now)
      unsafe packet.answer(verdict, pieces: engine.output.pieces, in: &queue.verdicts)
      inject()
    }
    finishBatch()
    return count == Self.batch
  }

  /// Says that packets were dropped, each time that they are ten times as many.
  private mutating func warnOfOverruns() {
    let now = queue.overruns
    guard now >= max(1, 10 * overruns) else { return }
    overruns = now
    logger.warning(
      "the queue's receive buffer was full and packets were dropped; with more queues there are more workers",
      metadata: ["packets": "\(now)", "counter": "queue_overruns"])
  }

  /// Says once what to do about packets that are too long for a queue.
  private mutating func warnOfLongPackets() {
    guard !hasWarned else { return }
    hasWarned = true
    logger.warning(
      """
      packets longer than 65,531 octets are dropped, for a queue hands over no more of them; with BIG TCP that makes \
      connections slow: 'ip link set dev NAME gso_max_size 65000 gro_max_size 65000' for the interfaces that they come by
      """, metadata: ["counter": "queue_truncated"])
  }

  /// Sends what the engine has made since the last time, behind all verdicts given before.
  private mutating func inject() {
    guard engine.output.injections.count > injected else { return }
    queue.verdicts.flush()
    while injected < engine.output.injections.count {
      unsafe injector.append(engine.output.injections[injected], pieces: engine.output.pieces)
      injected += 1
    }
    injector.flush()
    let refusals = injector.takeRefusals()
    guard !refusals.isEmpty else { return }
    for refusal in refusals { engine.refuse(refusal.injection, mtu: refusal.mtu, at: Self.now) }
    inject()
  }

  private mutating func finishBatch() {
    queue.verdicts.flush()
    inject()
    announce(engine.output.editable)
    for stray in engine.output.strayErrors {
      for other in others { other.offer { $0.receive(stray, at: Self.now) } }
    }
    for event in engine.output.events { skipped.note(event, of: engine.configuration) }
    events.post(engine.output.events, lost: engine.output.eventsLost)
    injected = 0
    engine.recycle()
  }

  /// Keeps connection tracking from judging connections whose numbers are about to shift.
  private mutating func announce(_ connections: [EditableConnection]) {
    guard !connections.isEmpty, let known = tracking.makeLiberal(connections.map { ConnectionTuple($0) }) else {
      return
    }
    for (connection, directions) in zip(connections, known) {
      engine.setTracking(
        connection, knowsToServer: directions.contains(.forward), knowsToClient: directions.contains(.backward))
    }
  }

  /// What the kernel's side has counted, by name.
  var kernelCounters: [String: UInt64] {
    var counters = Dictionary(uniqueKeysWithValues: queue.counters.named.map { ($0.name, $0.value) })
    let status = QueueStatus.all().first { $0.number == queue.number }
    counters["queue_overruns"] = queue.overruns
    counters["queue_dropped"] = status.map { $0.dropped + $0.droppedBySocket } ?? 0
    counters["verdict_failures"] = queue.verdicts.failures.total
    counters["injection_failures"] = injector.failures.total
    counters["tracking_failures"] = tracking.failures.total
    return counters
  }
}

extension ConnectionTuple {
  init(_ connection: EditableConnection) {
    func number(_ address: IPAddress) -> UInt128 {
      address.isIPv4 ? UInt128(address.low & 0xffff_ffff) : UInt128(address.high) << 64 | UInt128(address.low)
    }
    self.init(
      isIPv6: !connection.clientAddress.isIPv4, source: number(connection.clientAddress),
      sourcePort: connection.clientPort, destination: number(connection.serverAddress),
      destinationPort: connection.serverPort)
  }
}
