import DequeModule

/// The segments of a stream between two points of it, in order. Holds a reference to the slab of each.
struct SegmentQueue {
  private(set) var segments: Deque<Segment> = []
  /// Octets in all.
  var count: Int { Int(octets) }
  private var octets: UInt32 = 0
  /// Whether it has had so many segments that its memory is not to be kept for others.
  private(set) var hasBeenLong = false

  private static var longCount: Int { 1_024 }

  init() {}

  /// - Parameter room: segments that it has memory for from the beginning.
  init(room: Int) { segments.reserveCapacity(room) }

  var isEmpty: Bool { segments.isEmpty }

  /// Takes over the reference that comes with `segment`.
  mutating func append(_ segment: Segment) {
    octets += UInt32(segment.count)
    segments.append(segment)
    if segments.count > Self.longCount { hasBeenLong = true }
  }

  /// Takes everything out, with the memory that it lies in.
  mutating func takeAll() -> SegmentQueue {
    var all = SegmentQueue()
    swap(&all, &self)
    return all
  }

  /// Takes the first segment off, its reference with it.
  mutating func popFirst() -> Segment? {
    guard let segment = segments.popFirst() else { return nil }
    octets -= UInt32(segment.count)
    return segment
  }

  /// Moves the first `octets` octets to the end of `destination`, and with them what was removed right behind them.
  mutating func move(first octets: Int, to destination: inout SegmentQueue, in pool: SlabPool) {
    var left = octets
    while let first = segments.first {
      if first.count > left {
        guard left > 0 else { return }
        splitFirst(at: left, in: pool)
        continue
      }
      left -= first.count
      self.octets -= UInt32(first.count)
      destination.append(segments.removeFirst())
    }
  }

  /// Moves everything to the end of `destination`.
  mutating func move(all destination: inout SegmentQueue) {
    guard !destination.isEmpty else {
      swap(&self, &destination)
      return
    }
    while let segment = popFirst() { destination.append(segment) }
  }

  /// The same segments once more, with references of their own.
  func copy(in pool: SlabPool) -> SegmentQueue {
    for segment in segments where segment.slab != .none { pool.retain(segment.slab) }
    return self
  }

  /// Drops the first `octets` octets, and of the removed segments in front of and behind them as many as stand for `numbers`
  /// numbers of the source together with them.
  mutating func drop(octets: Int, numbers: Int, in pool: SlabPool) {
    var (octets, numbers) = (octets, numbers)
    while let first = segments.first, octets > 0 || numbers > 0 {
      if first.count > octets {
        guard octets > 0 else { return }
        splitFirst(at: octets, in: pool)
        continue
      }
      if first.count == 0, Int(first.sourceCount) > numbers { return }
      octets -= first.count
      numbers -= Int(first.sourceCount)
      if let gone = popFirst() { pool.release(gone) }
    }
  }

  /// Drops everything.
  mutating func removeAll(in pool: SlabPool) {
    while let segment = popFirst() { pool.release(segment) }
  }

  /// Cuts the first segment in two, `offset` octets from its start; `0 < offset < count`.
  mutating func splitFirst(at offset: Int, in pool: SlabPool) {
    let whole = segments.removeFirst()
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
    segments.prepend(tail)
    segments.prepend(head)
  }

  /// Puts `segment` in front of all others; takes over its reference.
  mutating func prepend(_ segment: Segment) {
    octets += UInt32(segment.count)
    segments.prepend(segment)
    if segments.count > Self.longCount { hasBeenLong = true }
  }

  /// Takes the last segment off, its reference with it.
  mutating func popLast() -> Segment? {
    guard let segment = segments.popLast() else { return nil }
    octets -= UInt32(segment.count)
    return segment
  }

  /// Takes the first `octets` octets off, and what was removed right behind them. Returns what stands in their place: the
  /// removed segment of the numbers that the source gave them, nil where it gave none; but a borrower of the pool always
  /// gets one, for it accounts for what it was given.
  mutating func removeFirst(_ octets: Int, in pool: SlabPool) -> Segment? {
    var left = octets
    var gap: Segment?
    var taken = 0
    while let first = segments.first {
      if first.count > left {
        guard left > 0 else { break }
        splitFirst(at: left, in: pool)
        continue
      }
      _ = popFirst()
      left -= first.count
      taken += first.taken
      pool.release(first)
      guard first.sourceCount > 0 else { continue }
      if gap == nil { gap = .removed(first.source, 0) }
      gap?.sourceCount += first.sourceCount
    }
    guard pool.arena != nil else { return gap }
    return .removed(gap?.source ?? InSequence(0), gap?.sourceCount ?? 0, taken: UInt32(taken))
  }
}
