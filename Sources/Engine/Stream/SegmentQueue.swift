import DequeModule

/// The segments of a stream between two points of it, in order. Holds a reference to the slab of each.
struct SegmentQueue {
  private(set) var segments: Deque<Segment> = []
  /// Octets in all.
  private(set) var count = 0

  var isEmpty: Bool { segments.isEmpty }

  /// Takes over the reference that comes with `segment`.
  mutating func append(_ segment: Segment) {
    count += segment.count
    segments.append(segment)
  }

  /// Takes the first segment off, its reference with it.
  mutating func popFirst() -> Segment? {
    guard let segment = segments.popFirst() else { return nil }
    count -= segment.count
    return segment
  }

  /// Moves the first `octets` octets to the end of `destination`, and with them what was removed right behind them.
  mutating func move(first octets: Int, to destination: inout SegmentQueue, in pool: SlabPool) {
    var left = octets
    while let first = segments.first {
      if first.count > left {
        guard left > 0 else { return }
        split(0, at: left, in: pool)
        continue
      }
      left -= first.count
      count -= first.count
      destination.append(segments.removeFirst())
    }
  }

  /// Moves everything to the end of `destination`.
  mutating func move(all destination: inout SegmentQueue) {
    while let segment = popFirst() { destination.append(segment) }
  }

  /// Drops everything.
  mutating func removeAll(in pool: SlabPool) {
    while let segment = popFirst() {
      if segment.slab != .none { pool.release(segment.slab) }
    }
  }

  /// Cuts the segment at `index` in two, `offset` octets from its start; `0 < offset < count`.
  mutating func split(_ index: Int, at offset: Int, in pool: SlabPool) {
    let whole = segments[index]
    let middle = whole.start + UInt32(offset)
    var head = whole
    var tail = whole
    head.end = middle
    tail.start = middle
    if whole.sourceCount > 0 {
      head.sourceCount = UInt32(offset)
      tail.source = whole.source + offset
      tail.sourceCount = whole.sourceCount - UInt32(offset)
    }
    pool.retain(whole.slab)
    segments[index] = head
    segments.insert(tail, at: index + 1)
  }

  /// Puts `segment` in front of the one at `index`; takes over its reference.
  mutating func insert(_ segment: Segment, at index: Int) {
    count += segment.count
    segments.insert(segment, at: index)
  }

  /// Removes the octets of the segments in `indices`; what of them the source had numbered stays as one removed segment
  /// at the front of them. Returns how many segments stand there now (0 or 1).
  mutating func remove(_ indices: Range<Int>, in pool: SlabPool) -> Int {
    var source = InSequence(0)
    var sourceCount: UInt32 = 0
    for index in indices {
      let segment = segments[index]
      if segment.sourceCount > 0 {
        if sourceCount == 0 { source = segment.source }
        sourceCount += segment.sourceCount
      }
      count -= segment.count
      if segment.slab != .none { pool.release(segment.slab) }
    }
    guard sourceCount > 0 else {
      segments.removeSubrange(indices)
      return 0
    }
    segments[indices.lowerBound] = .removed(source, sourceCount)
    if indices.count > 1 { segments.removeSubrange(indices.lowerBound + 1..<indices.upperBound) }
    return 1
  }
}
