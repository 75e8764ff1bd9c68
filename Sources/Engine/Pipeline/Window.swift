import DequeModule

/// What a module sees of a stream: the bytes between its head and its tail, as if they lay in one piece.
///
/// Positions count octets from the head, in the bytes as edited so far: after a removal what stood behind it stands that
/// much further in front. Edits take effect at once; ``release(upTo:)`` says how far the module is done, and what it does
/// not release it finds again at the front of its next window. A position beyond the window is a programming error and
/// traps; so do edits in front of what has been released.
@safe public struct Window: ~Copyable {
  /// The bytes. Moved in and out for the duration of one call.
  var queue: SegmentQueue
  let pool: SlabPool
  /// Octets in front of position 0, where the window is narrowed.
  private var base = 0
  /// End of the window in octets of `queue`.
  private var end: Int
  /// Octets released so far, from the start of `queue`.
  private(set) var releaseMark = 0
  /// Whether everything has to be released now: the stream is at its end, or bytes have been held for too long.
  /// What is not released is taken away unedited.
  public private(set) var mustRelease: Bool
  /// Whether nothing will come behind these bytes.
  public let isFinal: Bool
  private(set) var edits: UInt64 = 0
  private(set) var removed: UInt64 = 0
  private(set) var inserted: UInt64 = 0
  private let own: UnsafeMutableBufferPointer<UInt64>

  /// The segments in front of the place that was last worked at; `queue` goes on behind it. Work mostly goes forward, so
  /// it finds and changes its segments at the seam, and an edit costs the same however many there are.
  private var passed = SegmentQueue()

  init(
    _ queue: consuming SegmentQueue, pool: SlabPool, own: UnsafeMutableBufferPointer<UInt64>, mustRelease: Bool,
    isFinal: Bool
  ) {
    self.end = queue.count
    self.queue = queue
    self.pool = pool
    unsafe self.own = unsafe own
    self.mustRelease = mustRelease
    self.isFinal = isFinal
  }

  /// Ends the window and gives the bytes back.
  consuming func takeQueue() -> SegmentQueue {
    queue.move(all: &passed)
    return passed
  }

  /// Octets in the window.
  public var count: Int { end - base }

  public var isEmpty: Bool { count == 0 }

  /// Adds to the counter that stands at `index` in ``ModuleDescription/counters``.
  public mutating func count(_ index: Int, by amount: Int = 1) {
    unsafe own[index] &+= UInt64(amount)
  }

  // MARK: Reading

  /// The octet at `position`. For more than a few, ``forEachSpan(in:_:)`` or ``search(_:from:)`` are faster.
  public subscript(position: Int) -> UInt8 {
    mutating get {
      precondition(position >= 0 && position < count, "position outside of the window")
      let (segment, offset) = locate(base + position)
      return unsafe pool.bytes(segment.slab, segment.start, segment.end)[offset]
    }
  }

  /// Calls `body` with the octets of `range`, piece by piece and in order, until it answers false.
  public mutating func forEachSpan(in range: Range<Int>, _ body: (Span<UInt8>) -> Bool) {
    check(range)
    var position = base + range.lowerBound
    let stop = base + range.upperBound
    while position < stop {
      let (segment, offset) = locate(position)
      let length = min(segment.count - offset, stop - position)
      let start = segment.start + UInt32(offset)
      let bytes = unsafe pool.bytes(segment.slab, start, start + UInt32(length))
      guard body(unsafe bytes.bindMemory(to: UInt8.self).span) else { return }
      position += length
    }
  }

  /// A copy of the octets of `range`.
  public mutating func copy(_ range: Range<Int>) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(range.count)
    forEachSpan(in: range) { span in
      for index in span.indices { bytes.append(span[index]) }
      return true
    }
    return bytes
  }

  /// Moves the seam in front of the segment that holds the octet at `position`, and returns that one and the offset of the
  /// octet in it.
  private mutating func locate(_ position: Int) -> (Segment, Int) {
    while position < passed.count, let segment = passed.popLast() { queue.prepend(segment) }
    while let segment = queue.segments.first {
      if position < passed.count + segment.count { return (segment, position - passed.count) }
      _ = queue.popFirst()
      passed.append(segment)
    }
    preconditionFailure("position outside of the window")
  }

  /// Moves the seam to `position`, through a segment if need be.
  private mutating func cut(at position: Int) {
    guard position < passed.count + queue.count else {
      queue.move(all: &passed)
      return
    }
    let (_, offset) = locate(position)
    guard offset > 0 else { return }
    queue.splitFirst(at: offset, in: pool)
    if let head = queue.popFirst() { passed.append(head) }
  }

  private func check(_ range: Range<Int>) {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "range outside of the window")
  }

  // MARK: Searching

  /// What ``search(_:from:)`` finds.
  public enum Finding: Equatable, Sendable {
    /// A whole match starts at the position.
    case match(at: Int)
    /// The window ends within what may become a match, which starts at the position. Whoever must not miss it releases
    /// up to there and waits.
    case partial(at: Int)
    case none

    /// Where the match, whole or partial, starts.
    public var start: Int? {
      switch self {
      case .match(let position), .partial(let position): position
      case .none: nil
      }
    }
  }

  /// The position of the first match at or behind `start`.
  public mutating func find(_ pattern: Pattern, from start: Int = 0) -> Int? {
    find(pattern, in: start..<count)
  }

  /// The position of the first match that lies wholly within `range`.
  public mutating func find(_ pattern: Pattern, in range: Range<Int>) -> Int? {
    if case .match(let position) = search(pattern, in: range) { return position }
    return nil
  }

  /// The first match at or behind `start`, or the beginning of one that the end of the window cuts off.
  public mutating func search(_ pattern: Pattern, from start: Int = 0) -> Finding {
    search(pattern, in: start..<count)
  }

  /// The first match within `range`, or the beginning of one that the end of the range cuts off.
  public mutating func search(_ pattern: Pattern, in range: Range<Int>) -> Finding {
    check(range)
    var position = base + range.lowerBound
    let end = base + range.upperBound
    while position < end {
      let (segment, offset) = locate(position)
      let length = min(segment.count - offset, end - position)
      let first = segment.start + UInt32(offset)
      let bytes = unsafe pool.bytes(segment.slab, first, first + UInt32(length))
      if let found = unsafe pattern.firstMatch(in: bytes) { return .match(at: position + found - base) }
      // What is left may start near the end of this piece and go on in the next ones.
      for candidate in max(0, length - pattern.count + 1)..<length {
        guard pattern.matches(unsafe bytes[candidate], at: 0) else { continue }
        let at = position + candidate
        switch compare(pattern, position: at, end: end, offset: offset + candidate) {
        case pattern.count: return .match(at: at - base)
        case end - at: return .partial(at: at - base)
        default: continue
        }
      }
      position += length
    }
    return .none
  }

  /// How many octets from `position` up to `end` agree with `pattern`.
  ///
  /// - Parameter offset: where `position` lies in the segment behind the seam.
  private func compare(_ pattern: Pattern, position: Int, end: Int, offset: Int) -> Int {
    var agreed = 0
    var index = 0
    var offset = offset
    while agreed < pattern.count, position + agreed < end {
      let piece = queue.segments[index]
      // Where octets were removed there is no slab to look into.
      guard piece.count > 0 else {
        index += 1
        continue
      }
      let bytes = unsafe pool.bytes(piece.slab, piece.start, piece.end)
      while offset < piece.count, agreed < pattern.count, position + agreed < end {
        guard pattern.matches(unsafe bytes[offset], at: agreed) else { return agreed }
        agreed += 1
        offset += 1
      }
      index += 1
      offset = 0
    }
    return agreed
  }

  // MARK: Editing

  /// Removes the octets of `range`.
  public mutating func remove(_ range: Range<Int>) {
    check(range)
    guard !range.isEmpty else { return }
    let lower = base + range.lowerBound
    precondition(lower >= releaseMark, "these octets are released")
    cut(at: lower)
    if let removed = queue.removeFirst(range.count, in: pool) { passed.append(removed) }
    end -= range.count
    edits += 1
    removed += UInt64(range.count)
  }

  /// Inserts `bytes` in front of the octet at `position`, or at the end of the window.
  public mutating func insert(_ bytes: [UInt8], at position: Int) {
    precondition(position >= 0 && position <= count, "position outside of the window")
    guard !bytes.isEmpty else { return }
    let position = base + position
    precondition(position >= releaseMark, "these octets are released")
    cut(at: position)
    var done = 0
    // One slab does not hold more than its size; longer insertions take several.
    while done < bytes.count {
      let length = min(bytes.count - done, SlabPool.largest)
      // Memory that is exhausted lets no more packets in; an edit of what is in is never left half done.
      let (slab, start, stop) = unsafe bytes.withUnsafeBytes {
        unsafe pool.copyReserved(UnsafeRawBufferPointer(rebasing: $0[done..<done + length]))
      }
      passed.append(.inserted(slab, start, stop))
      done += length
    }
    end += done
    edits += 1
    inserted += UInt64(done)
  }

  public mutating func insert(_ text: String, at position: Int) { insert(Array(text.utf8), at: position) }

  /// Puts `bytes` in the place of the octets of `range`.
  public mutating func replace(_ range: Range<Int>, with bytes: [UInt8]) {
    let before = edits
    remove(range)
    insert(bytes, at: range.lowerBound)
    edits = min(edits, before + 1)
  }

  // MARK: Releasing

  /// Says that the octets in front of `position` are done. They leave the window when the call returns.
  public mutating func release(upTo position: Int) {
    precondition(position >= 0 && position <= count, "position outside of the window")
    releaseMark = max(releaseMark, base + position)
  }

  public mutating func releaseAll() { release(upTo: count) }

  // MARK: Parts

  /// Lends the octets of `range` to `body` as a window of their own, so that one module can put another to work on a part
  /// of its bytes. What `body` releases is not released here: its count is returned, with the octets of the part as they
  /// are after the edits.
  ///
  /// - Parameter mustRelease: what ``mustRelease`` is within the part.
  public mutating func narrowed(
    to range: Range<Int>, mustRelease: Bool, _ body: (inout Window) -> Void
  ) -> (released: Int, count: Int) {
    check(range)
    let outer = (base: base, behind: end - (base + range.upperBound), mark: releaseMark, must: self.mustRelease)
    base += range.lowerBound
    end = base + range.count
    releaseMark = max(releaseMark, base)
    self.mustRelease = mustRelease
    body(&self)
    let result = (released: releaseMark - base, count: end - base)
    end += outer.behind
    base = outer.base
    releaseMark = outer.mark
    self.mustRelease = outer.must
    return result
  }
}
