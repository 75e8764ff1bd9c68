/// Empty segment queues that have got memory before, so that a packet on its way takes none from the heap.
///
/// Whoever takes one gives it back, or another in its place, once it is empty.
struct SpareQueues {
  private var queues: [SegmentQueue] = []

  private static var limit: Int { 8 }

  /// Segments that a fresh one has room for: what an edit makes of a packet, without growing step by step.
  private static var room: Int { 8 }

  mutating func take() -> SegmentQueue { queues.popLast() ?? SegmentQueue(room: Self.room) }

  /// Takes the memory of `queue`, which must be empty and stays so.
  mutating func giveBack(_ queue: inout SegmentQueue) {
    var spare = SegmentQueue()
    swap(&spare, &queue)
    guard queues.count < Self.limit, !spare.hasBeenLong else { return }
    queues.append(spare)
  }
}
