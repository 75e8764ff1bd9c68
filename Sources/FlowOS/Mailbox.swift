import CLinux
import Engine
import Glibc
import Synchronization

/// Work that other threads leave for the thread that owns an engine. It is done between two batches of packets, so that
/// nothing on the packet's road ever waits for a lock.
final class Mailbox: Sendable {
  typealias Work = @Sendable (inout Engine) -> Void

  /// What has been left: the work, and whether somebody waits for what the kernel's side has counted.
  struct Content {
    var work: [Work] = []
    var wantsReport = false
  }

  private let waiting = Mutex(Content())
  /// Readable while there is work.
  let descriptor = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))

  deinit { close(descriptor) }

  /// - Parameter report: whether ``Worker/kernelCounters`` are to be reported in front of the work.
  func post(report: Bool = false, _ work: @escaping Work) {
    waiting.withLock { content in
      content.work.append(work)
      if report { content.wantsReport = true }
    }
    eventfd_write(descriptor, 1)
  }

  /// Posts what packets give rise to, and may be lost as they may: nothing where much is waiting.
  func offer(_ work: @escaping Work) {
    let isTaken = waiting.withLock { content in
      guard content.work.count < Self.offerLimit else { return false }
      content.work.append(work)
      return true
    }
    if isTaken { eventfd_write(descriptor, 1) }
  }

  private static var offerLimit: Int { 1_024 }

  /// Takes out what has been left.
  func collect() -> Content {
    var count: eventfd_t = 0
    unsafe eventfd_read(descriptor, &count)
    return waiting.withLock { content in
      defer { content = Content() }
      return content
    }
  }
}

/// Waits until a number of threads have said that they are done.
final class Latch: Sendable {
  private let descriptor = eventfd(0, Int32(EFD_SEMAPHORE | EFD_CLOEXEC))

  deinit { close(descriptor) }

  func signal() { eventfd_write(descriptor, 1) }

  func wait(for count: Int) {
    for _ in 0..<count {
      var value: eventfd_t = 0
      while unsafe eventfd_read(descriptor, &value) != 0, errno == EINTR {}
    }
  }
}
