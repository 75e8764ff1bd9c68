import CLinux
import Glibc
import Synchronization

/// Wakes one thread that waits for something; a bell that nobody waits for costs no system call.
@safe final class Bell: Sendable {
  private nonisolated(unsafe) let semaphore: UnsafeMutablePointer<sem_t>
  private let isWaiting = Atomic(false)

  init() {
    unsafe semaphore = .allocate(capacity: 1)
    unsafe sem_init(semaphore, 0, 0)
  }

  deinit {
    unsafe sem_destroy(semaphore)
    unsafe semaphore.deallocate()
  }

  /// Called once there is something.
  func ring() {
    if isWaiting.exchange(false, ordering: .sequentiallyConsistent) { unsafe sem_post(semaphore) }
  }

  /// Waits until `isThere` answers true or `time` is over.
  func wait(for time: Nanoseconds?, until isThere: () -> Bool) {
    let deadline = time.map { Self.now &+ $0 }
    while true {
      isWaiting.store(true, ordering: .sequentiallyConsistent)
      if isThere() || deadline.map({ $0 <= Self.now }) ?? false {
        isWaiting.store(false, ordering: .sequentiallyConsistent)
        return
      }
      if let deadline {
        let (seconds, rest) = deadline.quotientAndRemainder(dividingBy: .seconds(1))
        var end = timespec(tv_sec: Int(seconds), tv_nsec: Int(rest))
        _ = unsafe sem_clockwait(semaphore, CLOCK_MONOTONIC, &end)
      } else {
        _ = unsafe sem_wait(semaphore)
      }
    }
  }

  private static var now: Nanoseconds {
    var time = timespec()
    _ = unsafe clock_gettime(CLOCK_MONOTONIC, &time)
    return .seconds(Int64(time.tv_sec)) + Int64(time.tv_nsec)
  }
}
