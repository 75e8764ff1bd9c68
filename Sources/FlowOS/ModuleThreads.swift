import CLinux
import Engine
import Glibc
import Synchronization

/// The threads that the modules of one worker run on, one for each module of each connection.
final class ModuleThreads: ThreadStarter {
  /// Threads of one worker.
  private static let limit = 8_192
  /// Octets of a thread's stack, of which only what is used takes memory.
  private static let stackSize = 1 << 20

  /// Readable while the engine has something to collect.
  let descriptor = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
  private let count = Atomic(0)
  /// Where they may run, whatever the worker keeps to.
  private let processors = ProcessorList.allowed

  deinit { close(descriptor) }

  func start(_ exchange: ModuleExchange) -> Bool {
    guard count.add(1, ordering: .relaxed).newValue <= Self.limit else {
      count.subtract(1, ordering: .relaxed)
      return false
    }
    var attributes = pthread_attr_t()
    unsafe pthread_attr_init(&attributes)
    defer { unsafe pthread_attr_destroy(&attributes) }
    unsafe pthread_attr_setstacksize(&attributes, Self.stackSize)
    unsafe pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    let job = unsafe Unmanaged.passRetained(Job(exchange, self))
    var thread = pthread_t()
    let code = unsafe pthread_create(
      &thread, &attributes,
      { argument in
        let job = unsafe Unmanaged<Job>.fromOpaque(argument!).takeRetainedValue()
        job.threads.processors.bind()
        job.exchange.serve()
        job.threads.count.subtract(1, ordering: .relaxed)
        return nil
      }, unsafe job.toOpaque())
    guard code == 0 else {
      unsafe job.release()
      count.subtract(1, ordering: .relaxed)
      return false
    }
    return true
  }

  func now() -> Instant { Worker.now }

  func wakeEngine() { eventfd_write(descriptor, 1) }

  /// Takes note that the engine has been woken.
  func drain() {
    var count: eventfd_t = 0
    unsafe eventfd_read(descriptor, &count)
  }

  private final class Job {
    let exchange: ModuleExchange
    let threads: ModuleThreads

    init(_ exchange: ModuleExchange, _ threads: ModuleThreads) {
      self.exchange = exchange
      self.threads = threads
    }
  }
}
