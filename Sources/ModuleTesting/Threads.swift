import Engine
import Glibc
import Synchronization

/// The threads of modules, each of which works when it is told to, on the thread of the test: the same seed gives the same run.
public final class ManualThreads: ThreadStarter {
  private let exchanges = Mutex<[ModuleExchange]>([])
  private let time = Atomic<Int64>(0)
  /// Threads that may be at work at a time.
  private let limit: Int

  public init(limit: Int = .max) { self.limit = limit }

  public func start(_ exchange: ModuleExchange) -> Bool {
    exchanges.withLock { list in
      guard list.count < limit else { return false }
      list.append(exchange)
      return true
    }
  }

  public func now() -> Instant { Instant(nanoseconds: time.load(ordering: .relaxed)) }
  public func wakeEngine() {}

  public func setTime(_ now: Instant) { time.store(now.nanoseconds, ordering: .relaxed) }

  /// How many are at work.
  public var count: Int { exchanges.withLock { $0.count } }

  /// Lets the thread at `index` work on what has come.
  public func step(_ index: Int) {
    let exchange = exchanges.withLock { $0[index] }
    guard !exchange.step() else { return }
    exchange.leave()
    exchanges.withLock { _ = $0.remove(at: index) }
  }

  /// Lets each of them work on what has come.
  public func stepAll() {
    for index in (0..<count).reversed() { step(index) }
  }
}

/// Real threads, on the clock of the test. What is asked of all of them is asked on the thread that starts them.
public final class RealThreads: ThreadStarter {
  private let jobs = Mutex<[Job]>([])
  private let time = Atomic<Int64>(0)

  private final class Job: Sendable {
    let exchange: ModuleExchange
    let isDone = Atomic(false)

    init(_ exchange: ModuleExchange) { self.exchange = exchange }
  }

  public init() {}

  public func start(_ exchange: ModuleExchange) -> Bool {
    let job = Job(exchange)
    let argument = unsafe Unmanaged.passRetained(job)
    var thread = pthread_t()
    let code = unsafe pthread_create(
      &thread, nil,
      { argument in
        let job = unsafe Unmanaged<Job>.fromOpaque(argument!).takeRetainedValue()
        job.exchange.serve()
        job.isDone.store(true, ordering: .releasing)
        return nil
      }, unsafe argument.toOpaque())
    guard code == 0 else {
      unsafe argument.release()
      return false
    }
    pthread_detach(thread)
    jobs.withLock { $0.append(job) }
    return true
  }

  public func now() -> Instant { Instant(nanoseconds: time.load(ordering: .relaxed)) }
  public func wakeEngine() {}

  public func setTime(_ now: Instant) { time.store(now.nanoseconds, ordering: .relaxed) }

  /// How many are at work.
  public var count: Int { atWork.count }

  /// Whether all of them wait for more.
  var areIdle: Bool { atWork.allSatisfy(\.isIdle) }

  /// Has all of them come to an end.
  func end() {
    for exchange in atWork { exchange.end() }
  }

  private var atWork: [ModuleExchange] {
    jobs.withLock { jobs in
      jobs.removeAll { $0.isDone.load(ordering: .acquiring) }
      return jobs.map(\.exchange)
    }
  }
}

/// The threads of a bench: real ones for modules that wait by themselves.
final class BenchThreads: ThreadStarter {
  private let manual = ManualThreads()
  private let real = RealThreads()
  /// Real seconds that a module may work at one go.
  private static let patience = 10

  func start(_ exchange: ModuleExchange) -> Bool {
    exchange.needsThread ? real.start(exchange) : manual.start(exchange)
  }

  func now() -> Instant { manual.now() }
  func wakeEngine() {}

  func setTime(_ now: Instant) {
    manual.setTime(now)
    real.setTime(now)
  }

  /// Lets all modules work until they wait for more.
  func settle() {
    manual.stepAll()
    wait { real.areIdle }
  }

  /// Ends all threads.
  func end() {
    real.end()
    wait { real.count == 0 }
  }

  private func wait(until isDone: () -> Bool) {
    let deadline = ContinuousClock.now + .seconds(Self.patience)
    while !isDone() {
      precondition(ContinuousClock.now < deadline, "the module does not wait for more within \(Self.patience) s")
      usleep(50)
    }
  }
}
