import DequeModule

/// The OOSEQ queue: segments that came before their turn, sorted by sequence number and without overlaps.
///
/// The first copy of an octet wins. Bounded in octets, as they really lie in memory, and in segments; what does not fit is
/// refused, and the source sends it again.
struct OutOfOrderQueue: ~Copyable {
  private var segments: Deque<Segment> = []
  /// Octets of slabs held.
  private(set) var cost = 0

  static var countLimit: Int { 1_024 }
  static var costLimit: Int { 8 << 20 }

  var isEmpty: Bool { segments.isEmpty }
  var count: Int { segments.count }
  /// The first number that waits.
  var first: InSequence? { segments.first?.source }

  /// Behind the last number that waits.
  var end: InSequence? { segments.last.map(Self.end) }

  /// What became of a segment.
  enum Outcome {
    case kept
    /// A bound is reached.
    case refused
    /// It says otherwise than what is kept already, which stays.
    case contradicted
  }

  /// Takes in `segment`, trimmed to what is not there yet. The caller keeps its own reference.
  mutating func insert(_ segment: Segment, in pool: SlabPool) -> Outcome {
    let isContradicted = !agrees(segment, in: pool)
    guard fill(segment, in: pool) else { return .refused }
    return isContradicted ? .contradicted : .kept
  }

  /// Whether every octet of `segment` that is kept already is the same.
  func agrees(_ segment: Segment, in pool: SlabPool) -> Bool {
    let end = Self.end(segment)
    for index in firstIndex(endingBehind: segment.source)..<segments.count {
      let kept = segments[index]
      guard kept.source < end else { break }
      let first = InSequence.later(kept.source, segment.source)
      let last = InSequence.earlier(Self.end(kept), end)
      let length = UInt32(last - first)
      let mine = kept.start + UInt32(first - kept.source)
      let theirs = segment.start + UInt32(first - segment.source)
      let isSame = unsafe pool.bytes(kept.slab, mine, mine + length).elementsEqual(
        pool.bytes(segment.slab, theirs, theirs + length))
      guard isSame else { return false }
    }
    return true
  }

  /// Index of the first segment that ends behind `number`.
  private func firstIndex(endingBehind number: InSequence) -> Int {
    // Most arrive behind all others.
    if let last = segments.last, Self.end(last) <= number { return segments.count }
    var low = 0
    var high = segments.count
    while low < high {
      let middle = (low + high) / 2
      if Self.end(segments[middle]) <= number { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// - Returns: false where a bound refuses it.
  private mutating func fill(_ segment: Segment, in pool: SlabPool) -> Bool {
    var segment = segment
    var index = firstIndex(endingBehind: segment.source)
    if index < segments.count, segments[index].source <= segment.source {
      let overlap = Self.end(segments[index]) - segment.source
      guard overlap < segment.count else { return true }
      segment.trim(front: overlap)
      index += 1
    }
    while index < segments.count {
      let gap = segments[index].source - segment.source
      if gap >= segment.count { break }
      var piece = segment
      piece.end = piece.start + UInt32(gap)
      piece.sourceCount = UInt32(gap)
      if gap > 0 {
        guard add(piece, at: index, in: pool) else { return false }
        index += 1
      }
      let covered = Self.end(segments[index]) - segment.source
      guard covered < segment.count else { return true }
      segment.trim(front: covered)
      index += 1
    }
    return add(segment, at: index, in: pool)
  }

  private mutating func add(_ segment: Segment, at index: Int, in pool: SlabPool) -> Bool {
    let octets = pool.cost(of: segment.slab)
    guard segments.count < Self.countLimit, cost + octets <= Self.costLimit else { return false }
    pool.retain(segment.slab)
    cost += octets
    segments.insert(segment, at: index)
    return true
  }

  private static func end(_ segment: Segment) -> InSequence { segment.source + segment.count }

  /// Takes out what is in order at `next`, with its reference.
  mutating func pop(at next: InSequence, in pool: SlabPool) -> Segment? {
    while var first = segments.first, first.source <= next {
      segments.removeFirst()
      cost -= pool.cost(of: first.slab)
      let old = next - first.source
      if old < first.count {
        if old > 0 { first.trim(front: old) }
        return first
      }
      pool.release(first.slab)
    }
    return nil
  }

  /// Up to `limit` blocks of what is held, for a SACK option: the one that holds `recent` first (RFC 2018 section 4),
  /// then from the front.
  func blocks(recent: InSequence?, limit: Int, _ body: (InSequence, InSequence) -> Void) {
    var given = 0
    var first: InSequence?
    if let recent {
      blocks { left, right in
        guard left <= recent, recent < right else { return true }
        body(left, right)
        first = left
        given = 1
        return false
      }
    }
    blocks { left, right in
      guard given < limit else { return false }
      if left != first {
        body(left, right)
        given += 1
      }
      return true
    }
  }

  /// Calls `body` with the blocks of what is held, from the front, until it answers false.
  func blocks(_ body: (InSequence, InSequence) -> Bool) {
    var index = 0
    while index < segments.count {
      let left = segments[index].source
      var right = Self.end(segments[index])
      index += 1
      while index < segments.count, segments[index].source == right {
        right = Self.end(segments[index])
        index += 1
      }
      guard body(left, right) else { return }
    }
  }

  mutating func removeAll(in pool: SlabPool) {
    while let segment = segments.popFirst() { pool.release(segment.slab) }
    cost = 0
  }
}
