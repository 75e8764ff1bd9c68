import Engine
import Glibc
import Synchronization

/// The threads of a bench. A module that does not need one works when the bench says so, on the thread of the test: the same
/// seed gives the same run.
final class Threads: ThreadStarter {
  private struct State {
    var stepped: [ModuleExchange] = []
    var served: [ModuleExchange] = []
    var now = Instant.zero
  }

  private let state = Mutex(State())
  /// Real seconds that a module may work at one go.
  private static let patience = 10

  func start(_ exchange: ModuleExchange) -> Bool {
    guard exchange.needsThread else {
      state.withLock { $0.stepped.append(exchange) }
      return true
    }
    state.withLock { $0.served.append(exchange) }
    let job = unsafe Unmanaged.passRetained(Job(exchange, self))
    var thread = pthread_t()
    let code = unsafe pthread_create(
      &thread, nil,
      { argument in
        let job = unsafe Unmanaged<Job>.fromOpaque(argument!).takeRetainedValue()
        job.exchange.serve()
        job.threads.state.withLock { $0.served.removeAll { $0 === job.exchange } }
        return nil
      }, unsafe job.toOpaque())
    guard code == 0 else { return false }
    pthread_detach(thread)
    return true
  }

  func now() -> Instant { state.withLock { $0.now } }
  func wakeEngine() {}

  func setTime(_ now: Instant) { state.withLock { $0.now = now } }

  /// Lets all modules work until they wait for more.
  func settle() {
    for exchange in state.withLock({ $0.stepped }) where !exchange.step() {
      exchange.leave()
      state.withLock { $0.stepped.removeAll { $0 === exchange } }
    }
    wait { $0.served.allSatisfy(\.isIdle) }
  }

  /// Ends all threads.
  func end() {
    for exchange in state.withLock({ $0.served }) {
      exchange.end()
    }
    wait { $0.served.isEmpty }
  }

  private func wait(until isDone: (borrowing State) -> Bool) {
    let deadline = ContinuousClock.now + .seconds(Self.patience)
    while !state.withLock({ isDone($0) }) {
      precondition(ContinuousClock.now < deadline, "the module does not wait for more within \(Self.patience) s")
      usleep(50)
    }
  }

  private final class Job {
    let exchange: ModuleExchange
    let threads: Threads

    init(_ exchange: ModuleExchange, _ threads: Threads) {
      self.exchange = exchange
      self.threads = threads
    }
  }
}
