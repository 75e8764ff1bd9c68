import Engine
import Synchronization

/// The threads of modules, each of which works when the tape says so.
final class Threads: ThreadStarter {
  private let state = Mutex<(exchanges: [ModuleExchange], now: Instant)>(([], .zero))

  func start(_ exchange: ModuleExchange) -> Bool {
    state.withLock { state in
      guard state.exchanges.count < 40 else { return false }
      state.exchanges.append(exchange)
      return true
    }
  }

  func now() -> Instant { state.withLock { $0.now } }
  func wakeEngine() {}

  func setTime(_ now: Instant) { state.withLock { $0.now = now } }
  var count: Int { state.withLock { $0.exchanges.count } }

  /// Lets the thread at `index` work on what has come.
  func step(_ index: Int) {
    let exchange = state.withLock { $0.exchanges[index] }
    guard !exchange.step() else { return }
    exchange.leave()
    state.withLock { $0.exchanges.removeAll { $0 === exchange } }
  }
}
