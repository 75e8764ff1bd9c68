import HeapModule

/// The next wake-up of every connection, in one heap.
///
/// A connection stands in it with the earliest time at which it may have something to do. When that comes, the connection
/// says whether it is due, or when it will be; so moving a deadline further away costs nothing. A sooner one is entered
/// anew, and the entry that it replaces is passed over when its time comes.
struct TimerQueue {
  private struct Entry: Comparable {
    var deadline: Instant
    var place: ConnectionTable.Place

    static func < (left: Entry, right: Entry) -> Bool { left.deadline < right.deadline }
  }

  private var heap = Heap<Entry>()

  var next: Instant? { heap.min?.deadline }
  var count: Int { heap.count }

  mutating func schedule(_ place: ConnectionTable.Place, at deadline: Instant) {
    heap.insert(Entry(deadline: deadline, place: place))
  }

  /// The place whose time has come by `now`, if any, with that time.
  mutating func pop(by now: Instant) -> (place: ConnectionTable.Place, deadline: Instant)? {
    guard let first = heap.min, first.deadline <= now else { return nil }
    heap.removeMin()
    return (first.place, first.deadline)
  }
}
