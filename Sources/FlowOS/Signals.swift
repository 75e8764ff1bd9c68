import Glibc
import Synchronization

/// SIGTERM and SIGINT, taken by a thread that does nothing else, so that no code runs in a signal handler.
enum Signals {
  private static let action = Mutex<(@Sendable () -> Void)?>(nil)

  /// Calls `body` when the daemon is told to end. Must be called before other threads are made, or they take the signals.
  static func onTermination(_ body: @escaping @Sendable () -> Void) {
    action.withLock { $0 = body }
    var thread = pthread_t()
    unsafe pthread_create(
      &thread, nil,
      { _ in
        var set = Signals.terminations
        var number: CInt = 0
        while true {
          unsafe sigwait(&set, &number)
          Signals.action.withLock { $0 }?()
        }
      }, nil)
    pthread_detach(thread)
  }

  /// Keeps the signals from ending the process; for the first thread, whose children take it over.
  static func block() {
    var set = terminations
    unsafe pthread_sigmask(SIG_BLOCK, &set, nil)
    signal(SIGPIPE, SIG_IGN)
  }

  private static var terminations: sigset_t {
    var set = sigset_t()
    unsafe sigemptyset(&set)
    unsafe sigaddset(&set, SIGTERM)
    unsafe sigaddset(&set, SIGINT)
    return set
  }
}
