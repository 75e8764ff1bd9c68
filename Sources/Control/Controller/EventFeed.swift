import Engine
import Synchronization
import SystemPackage

/// Events of modules on their way from the workers to the control thread.
///
/// A worker waits for no more than the copying of a list: what finds no room is counted and lost, and where nobody listens
/// all is dropped at once.
public final class EventFeed: Sendable {
  /// Events that may wait.
  public static let capacity = 8_192

  /// What has come since the last time.
  struct Batch {
    var events: [ModuleEvent] = []
    /// Those that found no room.
    var lost = 0
  }

  private let waiting = Mutex(Batch())
  private let isOpen = Atomic(false)
  private let bell: Bell
  /// The clock of ``Engine/ModuleEvent/time``.
  private let clock: @Sendable () -> Instant

  public init(clock: @escaping @Sendable () -> Instant) {
    bell = Bell()
    self.clock = clock
  }

  /// The time by the clock of the events.
  var now: Instant { clock() }

  /// Readable while there is something to ``collect()``.
  var descriptor: FileDescriptor { bell.descriptor }

  /// Whether somebody listens. What waits when nobody does any more is dropped.
  public internal(set) var isWanted: Bool {
    get { isOpen.load(ordering: .relaxed) }
    set {
      let wasWanted = isOpen.exchange(newValue, ordering: .relaxed)
      if wasWanted, !newValue { _ = collect() }
    }
  }

  /// Hands over events, and how many were lost before. May be called on any thread.
  public func post(_ events: [ModuleEvent], lost: Int = 0) {
    guard isWanted, !events.isEmpty || lost > 0 else { return }
    waiting.withLock { batch in
      let room = Self.capacity - batch.events.count
      batch.events += events.prefix(room)
      batch.lost += max(0, events.count - room) + lost
    }
    bell.ring()
  }

  /// Takes out what waits.
  func collect() -> Batch {
    bell.silence()
    return waiting.withLock { batch in
      defer { batch = Batch() }
      return batch
    }
  }
}
