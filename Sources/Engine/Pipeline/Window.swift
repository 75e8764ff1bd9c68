import DequeModule

/// What a module sees of a stream: the bytes between its head and its tail, as if they lay in one piece.
///
/// Positions count octets from the head, in the bytes as edited so far: after a removal what stood behind it stands that
/// much further in front. Edits take effect at once; ``release(upTo:)`` says how far the module is done, and what it does
/// not release it finds again at the front of its next window.
///
/// What a module may not do (a position outside of the window, an edit of what is released, an edit by a module that is
/// declared to read) is not done, and the module has failed: see ``ProcessingModule``.
///
/// At the layers `ip` and `tcp` a window shows one packet, all of which is released when the module returns. Its octets can be
/// replaced by as many others; its checksums are set anew where they were right before.
///
/// Of UDP a window of the layer `app` shows the payload of one datagram, all of which must be released. It may grow and shrink;
/// one without octets left is sent as such.
@safe public struct Window: ~Copyable {
  /// The bytes. Moved in and out for the duration of one call.
  var queue: SegmentQueue
  let pool: SlabPool
  /// Octets in front of position 0, where the window is narrowed.
  private var base: Int
  /// End of the window in octets of `queue`.
  private var end: Int
  /// Octets released so far, from the start of `queue`.
  private var releaseMark: Int
  /// Octets of `queue` that were released before.
  private var head: Int
  /// Whether everything has to be released now: the stream is at its end, or bytes have been held for too long.
  /// What is not released is taken away unedited.
  public private(set) var mustRelease: Bool
  /// Whether nothing will come behind these bytes.
  public private(set) var isFinal: Bool
  private(set) var edits: UInt64 = 0
  private(set) var removed: UInt64 = 0
  private(set) var inserted: UInt64 = 0
  private(set) var requests = ModuleRequests()
  let setting: Setting

  /// The segments in front of the place that was last worked at; `queue` goes on behind it. Work mostly goes forward, so
  /// it finds and changes its segments at the seam, and an edit costs the same however many there are.
  private var passed: SegmentQueue

  /// What stays the same from one window of a module to the next.
  @safe struct Setting {
    let identity: ConnectionIdentity
    /// Whether the module may change bytes.
    let mayEdit: Bool
    /// Where its own counters lie.
    let own: UnsafeMutableBufferPointer<UInt64>
    /// Of a window on one packet.
    var packet: PacketDescription?
    /// Whether the window shows a datagram.
    var isDatagram = false
    /// Waits for more bytes; nil where nothing may wait.
    var reader: (any WindowReader)?
  }

  /// - Parameters:
  ///   - head: octets of `queue` that the module has released before.
  ///   - spare: an empty queue to work with.
  init(
    _ queue: consuming SegmentQueue, from head: Int = 0, pool: SlabPool, setting: Setting, now: Instant,
    _ mustRelease: Bool, _ isFinal: Bool, spare: consuming SegmentQueue = SegmentQueue()
  ) {
    passed = spare
    self.now = now
    self.base = head
    self.head = head
    self.releaseMark = head
    self.end = queue.count
    self.queue = queue
    self.pool = pool
    self.setting = setting
    self.mustRelease = mustRelease
    self.isFinal = isFinal
  }

  /// Ends the window and gives the bytes back.
  consuming func takeQueue() -> SegmentQueue { takeQueues().queue }

  /// Ends the window and gives the bytes back, and an empty queue.
  consuming func takeQueues() -> (queue: SegmentQueue, spare: SegmentQueue) {
    // However much is held, a window in which little is looked at costs little.
    guard passed.segments.count < queue.segments.count else {
      queue.move(all: &passed)
      return (passed, queue)
    }
    while let segment = passed.popLast() { queue.prepend(segment) }
    return (queue, passed)
  }

  /// Octets released from the head on.
  var released: Int { releaseMark - head }

  /// Octets in the window.
  public var count: Int { end - base }

  public var isEmpty: Bool { count == 0 }

  // MARK: Around the bytes

  /// The connection, and which way the bytes go.
  public var connection: ConnectionIdentity { setting.identity }

  /// The headers of the packet that the window shows; nil where it shows a part of a stream.
  public var packet: PacketDescription? { setting.packet }

  /// Whether the window shows one datagram of UDP, which goes on or is dropped as a whole.
  public var isDatagram: Bool { setting.isDatagram }

  /// The time, in nanoseconds since an origin of its own; it stands still within a window.
  public private(set) var now: Instant

  /// Adds to the counter that stands at `index` in ``ModuleDescription/counters``.
  public mutating func count(_ index: Int, by amount: Int = 1) {
    unsafe requests.count(index, by: amount, in: setting.own)
  }

  /// Tells whoever listens (`flowctl monitor`) of something; up to 64 in one window.
  public mutating func emit(_ name: String, _ fields: [String: String] = [:]) {
    requests.emit(name, fields)
  }

  /// Asks for another window once `time`, a millisecond at least, has passed, also where no more bytes have come. Of datagrams
  /// there is none. At the layers `ip` and `tcp` a module that asks for one has failed: it is called for packets alone.
  public mutating func wake(after time: Nanoseconds) {
    guard packet == nil else {
      fail("it asks to be called again (wake); at the layers ip and tcp a module is called for packets alone")
      return
    }
    requests.wake = min(requests.wake ?? .max, max(.milliseconds(1), time))
  }

  /// Ends the connection without a word: from here on none of its packets passes. Of a packet or a datagram: that alone is
  /// dropped.
  public mutating func drop() { requests.fate = requests.fate ?? .drop }

  /// Cuts the connection off with a reset to both ends. Of a packet: it is dropped, and its source is told, by a reset of
  /// TCP, else by ICMP (administratively prohibited).
  public mutating func reset() { requests.fate = requests.fate ?? .reset }

  /// Says that the module has no more interest in the connection: nothing more is shown to it. Once no module has, and nothing of
  /// it was edited, the kernel forwards it alone, at its own speed; no module reaches it any more.
  public mutating func offload() { requests.isOffloading = true }

  /// Notes that the module has failed; see ``ProcessingModule``.
  mutating func fail(_ reason: String) { requests.fail(reason) }

  /// Waits until there are more bytes than before, until those that are there must be released, or until the end, and says
  /// whether there was anything of that. What was released before leaves. Only for ``ProcessingModule/run(_:)``.
  public mutating func read() -> Bool {
    guard let reader = setting.reader else {
      fail("only run(_:) may read")
      return false
    }
    return reader.read(&self)
  }

  /// What a module on a thread of its own has done since the last time.
  struct Result {
    var released = SegmentQueue()
    var edits: (count: UInt64, removed: UInt64, inserted: UInt64)
    var requests: ModuleRequests
  }

  /// Takes out what was released and takes in `more`.
  mutating func exchange(
    more: consuming SegmentQueue, mustRelease: Bool, isFinal: Bool, now: Instant
  ) -> Result {
    var whole = SegmentQueue()
    passed.move(all: &whole)
    queue.move(all: &whole)
    var result = Result(edits: (edits, removed, inserted), requests: requests)
    whole.move(first: releaseMark, to: &result.released, in: pool)
    more.move(all: &whole)
    (edits, removed, inserted, releaseMark) = (0, 0, 0, 0)
    requests.renew()
    queue = whole
    end = queue.count
    self.now = now
    self.mustRelease = mustRelease
    self.isFinal = isFinal
    return result
  }

  // MARK: Reading

  /// The octet at `position`. For more than a few, ``forEachSpan(in:_:)`` or ``search(_:from:)`` are faster.
  public subscript(position: Int) -> UInt8 {
    mutating get {
      guard position >= 0 && position < count else {
        fail("it reads at \(position) of \(count) octets")
        return 0
      }
      let (segment, offset) = locate(base + position)
      return unsafe pool.bytes(segment.slab, segment.start, segment.end)[offset]
    }
  }

  /// The two octets at `position` as a number in network byte order.
  public mutating func uint16(at position: Int) -> UInt16 {
    UInt16(self[position]) << 8 | UInt16(self[position + 1])
  }

  /// The octets of `range` added up for a checksum (RFC 1071); see ``Checksum``.
  public mutating func sum(of range: Range<Int>, initial: UInt64 = 0) -> UInt64 {
    var sum = initial
    var offset = 0
    forEachSpan(in: range) { span in
      sum = Checksum.combine(sum, Checksum.sum(span), at: offset)
      offset += span.count
      return true
    }
    return sum
  }

  /// Calls `body` with the octets of `range`, piece by piece and in order, until it answers false.
  public mutating func forEachSpan(in range: Range<Int>, _ body: (Span<UInt8>) -> Bool) {
    guard contains(range) else { return }
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

  /// Whether `range` lies within the window; where not, the module has failed.
  private mutating func contains(_ range: Range<Int>) -> Bool {
    if range.lowerBound >= 0 && range.upperBound <= count { return true }
    fail("it works at \(range.lowerBound) to \(range.upperBound) of \(count) octets")
    return false
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
    guard contains(range) else { return .none }
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

  /// Whether one of the patterns lies wholly within `range`.
  public mutating func contains(anyOf set: PatternSet, in range: Range<Int>) -> Bool {
    guard contains(range) else { return false }
    var position = base + range.lowerBound
    let end = base + range.upperBound
    while position < end {
      let (segment, offset) = locate(position)
      let length = min(segment.count - offset, end - position)
      let first = segment.start + UInt32(offset)
      let bytes = unsafe pool.bytes(segment.slab, first, first + UInt32(length))
      var start = 0
      while let candidate = unsafe set.candidate(in: bytes, from: start) {
        let isFound = set.contains(startingWith: unsafe bytes[candidate]) { pattern in
          compare(pattern, position: position + candidate, end: end, offset: offset + candidate) == pattern.count
        }
        if isFound { return true }
        start = candidate + 1
      }
      position += length
    }
    return false
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

  /// Whether the octets from `lower` on may be changed; where not, the module has failed.
  private mutating func mayEdit(from lower: Int) -> Bool {
    guard setting.mayEdit else {
      fail("it is declared to read, and edits")
      return false
    }
    guard lower >= releaseMark else {
      fail("it edits octets that it has released")
      return false
    }
    return true
  }

  /// Removes the octets of `range`.
  public mutating func remove(_ range: Range<Int>) {
    guard contains(range), !range.isEmpty, isStream(), mayEdit(from: base + range.lowerBound) else { return }
    cut(at: base + range.lowerBound)
    if let removed = queue.removeFirst(range.count, in: pool) { passed.append(removed) }
    end -= range.count
    edits += 1
    removed += UInt64(range.count)
  }

  /// Inserts `bytes` in front of the octet at `position`, or at the end of the window.
  public mutating func insert(_ bytes: [UInt8], at position: Int) {
    unsafe bytes.withUnsafeBytes { unsafe insert($0, at: position) }
  }

  public mutating func insert(_ text: String, at position: Int) {
    var text = text
    text.withUTF8 { unsafe insert(UnsafeRawBufferPointer($0), at: position) }
  }

  private mutating func insert(_ bytes: UnsafeRawBufferPointer, at position: Int) {
    guard contains(position..<position), unsafe !bytes.isEmpty, isStream(), mayEdit(from: base + position)
    else { return }
    cut(at: base + position)
    var done = 0
    // One slab does not hold more than its size; longer insertions take several.
    while done < bytes.count {
      let length = min(bytes.count - done, SlabPool.largest)
      // Memory that is exhausted lets no more packets in; an edit of what is in is never left half done.
      let (slab, start, stop) = unsafe pool.copyReserved(
        UnsafeRawBufferPointer(rebasing: bytes[done..<done + length]))
      passed.append(.inserted(slab, start, stop))
      done += length
    }
    end += done
    edits += 1
    inserted += UInt64(done)
  }

  /// Puts a number in network byte order in the place of the two octets at `position`.
  public mutating func replace(at position: Int, with number: UInt16) {
    replace(position..<position + 2, with: [UInt8(number >> 8), UInt8(truncatingIfNeeded: number)])
  }

  /// Puts `bytes` in the place of the octets of `range`.
  public mutating func replace(_ range: Range<Int>, with bytes: [UInt8]) {
    guard packet == nil else {
      overwrite(range, with: bytes)
      return
    }
    let before = edits
    remove(range)
    insert(bytes, at: range.lowerBound)
    edits = min(edits, before + 1)
  }

  /// A packet is all that there is of its bytes, so they are changed where they lie.
  private mutating func overwrite(_ range: Range<Int>, with bytes: [UInt8]) {
    guard contains(range), mayEdit(from: base + range.lowerBound) else { return }
    guard bytes.count == range.count else {
      fail("it changes the length of a packet; at the layers ip and tcp octets are replaced by as many others")
      return
    }
    guard !bytes.isEmpty else { return }
    let (segment, offset) = locate(base + range.lowerBound)
    let start = Int(segment.start) + offset
    let place = unsafe UnsafeMutableRawBufferPointer(rebasing: pool.writable(segment.slab)[start..<start + bytes.count])
    unsafe place.copyBytes(from: bytes)
    edits += 1
  }

  private mutating func isStream() -> Bool {
    if packet == nil { return true }
    fail("it changes the length of a packet; at the layers ip and tcp octets are replaced by as many others")
    return false
  }

  // MARK: Releasing

  /// Says that the octets in front of `position` are done. They leave the window when the call returns.
  public mutating func release(upTo position: Int) {
    guard contains(0..<max(0, position)) else { return }
    releaseMark = max(releaseMark, base + position)
  }

  public mutating func releaseAll() { releaseMark = max(releaseMark, base + count) }

  // MARK: Parts

  /// Lends the octets of `range` to `body` as a window of their own, so that one module can put another to work on a part
  /// of its bytes. What `body` releases is not released here: its count is returned, with the octets of the part as they
  /// are after the edits.
  ///
  /// - Parameter mustRelease: what ``mustRelease`` is within the part.
  public mutating func narrowed(
    to range: Range<Int>, mustRelease: Bool, _ body: (inout Window) -> Void
  ) -> (released: Int, count: Int) {
    guard contains(range) else { return (0, 0) }
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

/// Where a window that may wait gets its bytes from.
protocol WindowReader: AnyObject, Sendable {
  func read(_ window: inout Window) -> Bool
}
