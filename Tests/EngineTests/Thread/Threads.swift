import Glibc
import Synchronization

@testable import Engine

/// Serves the modules of threads by hand, when a test says so: the same seed gives the same run.
final class ManualThreads: ThreadStarter {
  private let exchanges = Mutex<[ModuleExchange]>([])
  let time = Atomic<Int64>(0)
  /// Threads that may be made.
  private let limit: Int

  init(limit: Int = .max) { self.limit = limit }

  func start(_ exchange: ModuleExchange) -> Bool {
    exchanges.withLock { list in
      guard list.count < limit else { return false }
      list.append(exchange)
      return true
    }
  }

  func now() -> Instant { Instant(nanoseconds: time.load(ordering: .relaxed)) }
  func wakeEngine() {}

  var count: Int { exchanges.withLock { $0.count } }

  /// Lets the thread at `index` work on what has come.
  func step(_ index: Int) {
    let exchange = exchanges.withLock { $0[index] }
    guard !exchange.step() else { return }
    exchange.leave()
    exchanges.withLock { _ = $0.remove(at: index) }
  }

  /// Lets all threads work until nothing moves any more.
  func stepAll() {
    for index in (0..<count).reversed() { step(index) }
  }
}

/// Real threads, on the test's clock.
final class RealThreads: ThreadStarter {
  let time = Atomic<Int64>(0)
  private let running = Atomic(0)

  func start(_ exchange: ModuleExchange) -> Bool {
    running.add(1, ordering: .relaxed)
    let job = unsafe Unmanaged.passRetained(Job(exchange, self))
    var thread = pthread_t()
    let code = unsafe pthread_create(
      &thread, nil,
      { argument in
        let job = unsafe Unmanaged<Job>.fromOpaque(argument!).takeRetainedValue()
        job.exchange.serve()
        job.threads.running.subtract(1, ordering: .relaxed)
        return nil
      }, unsafe job.toOpaque())
    pthread_detach(thread)
    return code == 0
  }

  func now() -> Instant { Instant(nanoseconds: time.load(ordering: .relaxed)) }
  func wakeEngine() {}

  var count: Int { running.load(ordering: .relaxed) }

  private final class Job {
    let exchange: ModuleExchange
    let threads: RealThreads

    init(_ exchange: ModuleExchange, _ threads: RealThreads) {
      self.exchange = exchange
      self.threads = threads
    }
  }
}
