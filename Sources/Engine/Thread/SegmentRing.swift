import Synchronization

/// Segments on their way from the engine to a module on another thread: a ring with one writer and one reader, who never
/// wait for each other.
@safe final class SegmentRing: Sendable {
  struct Entry {
    var segment: Segment
    /// Whether it is of the peer direction.
    var isPeer: Bool
  }

  private static let capacity = 1_024
  private nonisolated(unsafe) let places: UnsafeMutablePointer<Entry>
  /// Entries taken, and entries put in, since the ring is there.
  private let taken = Atomic(0)
  private let put = Atomic(0)

  init() {
    unsafe places = .allocate(capacity: Self.capacity)
  }

  deinit { unsafe places.deallocate() }

  var isEmpty: Bool { put.load(ordering: .sequentiallyConsistent) == taken.load(ordering: .relaxed) }

  /// Puts all of `segments` in, where there is room for them. For the writer.
  func push(_ segments: some Collection<Segment>, isPeer: Bool) -> Bool {
    let place = put.load(ordering: .relaxed)
    guard place - taken.load(ordering: .acquiring) + segments.count <= Self.capacity else { return false }
    for (index, segment) in segments.enumerated() {
      unsafe (places + (place + index) % Self.capacity).initialize(to: Entry(segment: segment, isPeer: isPeer))
    }
    put.store(place + segments.count, ordering: .sequentiallyConsistent)
    return true
  }

  /// Takes the oldest entry out. For the reader.
  func pop() -> Entry? {
    let place = taken.load(ordering: .relaxed)
    guard place < put.load(ordering: .acquiring) else { return nil }
    let entry = unsafe places[place % Self.capacity]
    taken.store(place + 1, ordering: .releasing)
    return entry
  }
}
