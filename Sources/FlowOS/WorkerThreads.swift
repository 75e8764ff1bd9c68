import Control
import Engine
import Glibc
import Logging
import Netfilter
import Synchronization

/// The workers of a daemon as its control side sees them: every request is carried to each and the answers are put
/// together.
final class WorkerThreads: DataPlane, Sendable {
  private let mailboxes: [Mailbox]
  private let isEnding = Atomic(false)
  private let ended = Latch()
  private let onShutdown: @Sendable () -> Void
  let events = EventFeed { Worker.now }
  /// What each worker's kernel side has counted, as of its last report.
  private let kernelCounters: Mutex<[[String: UInt64]]>

  /// Binds the queues and starts a thread for each.
  ///
  /// - Parameter cpus: the processors that those keep to, one each; nil where they may run on any.
  init(
    queues: ClosedRange<UInt16>, cpus: ProcessorList?, settings: Settings, logger: Logger,
    onShutdown: @escaping @Sendable () -> Void
  ) throws(NetfilterError) {
    mailboxes = queues.map { _ in Mailbox() }
    kernelCounters = Mutex(Array(repeating: [:], count: queues.count))
    self.onShutdown = onShutdown
    let skipped = SkippedModules(logger)
    for (index, number) in queues.enumerated() {
      var settings = settings
      settings.worker = (index, queues.count)
      let worker = try Worker(
        queue: number, settings: settings, mailboxes: mailboxes, events: events, skipped: skipped, logger: logger)
      if index == 0 {
        Self.report(worker.means, logger)
        Self.report(worker.obstacles, logger)
      }
      start(worker, index, on: cpus?.one(for: index), logger)
    }
  }

  private static func report(_ means: ConnectionTracking.Means, _ logger: Logger) {
    switch means {
    case .connection: logger.info("connection tracking: edited connections are made liberal one by one")
    case .sysctl: logger.notice("connection tracking: no ctnetlink, so nf_conntrack_tcp_be_liberal is set for all")
    case .none(let reason):
      logger.warning(
        "connection tracking: cannot be made liberal; where it is in use, edited connections may be cut off",
        metadata: ["reason": "\(reason)"])
    }
  }

  private static func report(_ obstacles: [Injector.Obstacle], _ logger: Logger) {
    for obstacle in obstacles {
      logger.notice(
        "IPv\(obstacle.isIPv6 ? 6 : 4): what is sent here leaves in single segments, which takes more of the processor",
        metadata: ["reason": "\(obstacle.reason)"])
    }
  }

  private func start(_ worker: consuming Worker, _ index: Int, on cpu: ProcessorList?, _ logger: Logger) {
    let job = WorkerJob(worker) { [self] worker in
      if let cpu, !cpu.bind() { logger.warning("a worker cannot keep to its processor", metadata: ["cpu": "\(cpu)"]) }
      func report(_ counters: [String: UInt64]) { kernelCounters.withLock { $0[index] = counters } }
      func mustEnd() -> Bool { isEnding.load(ordering: .acquiring) }
      do throws(NetfilterError) {
        try worker.run(reporting: report, until: mustEnd)
      } catch {
        logger.critical("a worker cannot go on", metadata: ["error": "\(error)"])
        onShutdown()
        worker.answerRequests(reporting: report, until: mustEnd)
      }
      ended.signal()
    }
    var thread = pthread_t()
    let argument = unsafe Unmanaged.passRetained(job).toOpaque()
    let code = unsafe pthread_create(
      &thread, nil,
      { argument in
        unsafe Unmanaged<WorkerJob>.fromOpaque(argument!).takeRetainedValue().run()
        return nil
      }, argument)
    precondition(code == 0, "no thread can be made")
    pthread_detach(thread)
  }

  /// Has every worker do `work`, and waits until all have.
  ///
  /// - Parameter report: whether ``kernelCounters`` are to be of now.
  private func onEach(report: Bool = false, _ work: @escaping @Sendable (inout Engine) -> Void) {
    let done = Latch()
    for mailbox in mailboxes {
      mailbox.post(report: report) { engine in
        work(&engine)
        done.signal()
      }
    }
    done.wait(for: mailboxes.count)
  }

  // MARK: DataPlane

  func apply(_ configuration: Configuration) {
    onEach { $0.apply(configuration, at: Worker.now) }
  }

  func statistics() -> Statistics {
    let sum = Mutex(Statistics())
    onEach(report: true) { engine in
      let part = engine.statistics
      sum.withLock { $0.add(part) }
    }
    var statistics = sum.withLock { $0 }
    for counters in kernelCounters.withLock({ $0 }) { statistics.kernel.merge(counters, uniquingKeysWith: &+) }
    return statistics
  }

  func connections(flow: UInt32?, limit: Int) -> [ConnectionInfo] {
    let list = Mutex<[ConnectionInfo]>([])
    onEach { engine in
      let part = engine.connections(ofFlow: flow, limit: limit)
      list.withLock { $0 += part }
    }
    return Array(list.withLock { $0 }.sorted { $0.id < $1.id }.prefix(limit))
  }

  func connection(_ id: UInt64) -> ConnectionInfo? {
    let found = Mutex<ConnectionInfo?>(nil)
    onEach { engine in
      guard let connection = engine.connection(id) else { return }
      found.withLock { $0 = connection }
    }
    return found.withLock { $0 }
  }

  func kill(connection id: UInt64) -> Bool {
    let isKilled = Atomic(false)
    onEach { engine in
      if engine.kill(connection: id, at: Worker.now) { isKilled.store(true, ordering: .relaxed) }
    }
    return isKilled.load(ordering: .relaxed)
  }

  func octetsHeld() -> [UInt32: Int] {
    let sum = Mutex<[UInt32: Int]>([:])
    onEach { engine in
      let part = engine.octetsHeld
      sum.withLock { $0.merge(part, uniquingKeysWith: +) }
    }
    return sum.withLock { $0 }
  }

  func portIndex(named name: String) -> UInt32? { NetworkInterface.index(named: name) }

  func shutdown() { onShutdown() }

  /// Has all workers end and waits for them. Packets that wait in the queues are dropped by the kernel.
  func end() {
    isEnding.store(true, ordering: .releasing)
    for mailbox in mailboxes { mailbox.post { _ in } }
    ended.wait(for: mailboxes.count)
  }
}

/// Carries a worker, which cannot be copied, over to its thread.
private final class WorkerJob {
  private var worker: Worker
  private let work: (inout Worker) -> Void

  init(_ worker: consuming Worker, _ work: @escaping (inout Worker) -> Void) {
    self.worker = worker
    self.work = work
  }

  func run() { work(&worker) }
}
