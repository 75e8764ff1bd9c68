import Synchronization

/// Packets on their way from the engine to a module on another thread and back, in their order: a ring with one writer and one who
/// works at what is written, who never wait for each other.
///
///     taken back ... done ... put
///       |  the engine's |  the thread's  |
@safe final class LentRing: Sendable {
  let capacity: Int
  private nonisolated(unsafe) let places: UnsafeMutablePointer<LentPacket?>
  /// Packets since the ring is there: handed over, and worked at.
  private let put = Atomic(0)
  private let done = Atomic(0)
  /// Those that the engine has taken back; its own.
  private nonisolated(unsafe) var taken = 0

  init(capacity: Int) {
    self.capacity = capacity
    unsafe places = .allocate(capacity: capacity)
    unsafe places.initialize(repeating: nil, count: capacity)
  }

  deinit {
    unsafe places.deinitialize(count: capacity)
    unsafe places.deallocate()
  }

  // MARK: For the engine

  /// Packets that have not been taken back.
  var count: Int { unsafe put.load(ordering: .relaxed) - taken }

  func push(_ packet: LentPacket) -> Bool {
    let place = put.load(ordering: .relaxed)
    guard unsafe place - taken < capacity else { return false }
    unsafe places[place % capacity] = packet
    put.store(place + 1, ordering: .sequentiallyConsistent)
    return true
  }

  /// Takes the oldest packet back.
  ///
  /// - Parameter isLeft: whether the thread is gone, so that those that it has not worked at are to be had too.
  func takeBack(isLeft: Bool) -> LentPacket? {
    let end = isLeft ? put.load(ordering: .relaxed) : done.load(ordering: .acquiring)
    guard unsafe taken < end else { return nil }
    let place = unsafe taken % capacity
    defer {
      unsafe places[place] = nil
      unsafe taken += 1
    }
    return unsafe places[place]
  }

  // MARK: For the thread

  var hasWork: Bool { put.load(ordering: .sequentiallyConsistent) > done.load(ordering: .relaxed) }

  /// The oldest packet that is not worked at.
  var next: LentPacket? {
    let place = done.load(ordering: .relaxed)
    guard place < put.load(ordering: .acquiring) else { return nil }
    return unsafe places[place % capacity]
  }

  /// Says that the oldest packet has been worked at, and is not touched any more.
  func finish() { done.add(1, ordering: .releasing) }
}
