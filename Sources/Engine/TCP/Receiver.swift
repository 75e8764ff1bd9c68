/// The TCB towards the source: what has come in order, and what waits for its turn (RFC 9293 section 3.10.7.4).
struct Receiver: ~Copyable {
  /// RCV.NXT: the number expected next.
  private(set) var next: InSequence
  private(set) var outOfOrder = OutOfOrderQueue()
  /// The number of the source's FIN, once one has been seen in its turn or before.
  private var finish: InSequence?
  /// Whether the FIN has come in its turn.
  private(set) var isEnded = false
  /// The number behind the last octet that has come in order. The FIN is acknowledged by its destination alone: with that its
  /// source may be gone, and would reset what it no longer knows.
  var dataEnd: InSequence { isEnded ? next + -1 : next }

  /// - Parameter next: the number behind the SYN.
  init(next: InSequence) { self.next = next }

  /// Where a segment stands against RCV.NXT.
  enum Arrival {
    /// Its octets from `offset` on come in order.
    case inOrder(offset: Int)
    /// Something in front of it is missing.
    case early
    /// All of it has been here before.
    case old
  }

  func classify(_ sequence: InSequence, count: Int, isFinish: Bool) -> Arrival {
    // Half the circle away, a number is neither in front nor behind; it counts as early, and is not in any window.
    let offset = next - sequence
    if offset < 0 { return .early }
    // Behind the FIN there is nothing, whatever comes.
    if !isEnded, offset < count || (isFinish && offset == count) { return .inOrder(offset: offset) }
    return .old
  }

  /// Takes `segment`, which begins at RCV.NXT, and whatever has waited for it, to the end of `stream`. Takes over the
  /// reference of the segment.
  ///
  /// - Returns: whether all of it was taken as it is; octets that came before, in segments that waited, stay as they came.
  mutating func accept(_ segment: Segment, to stream: inout SegmentQueue, in pool: SlabPool) -> Bool {
    let isWhole = outOfOrder.agrees(segment, in: pool)
    var rest = segment
    while let waiting = outOfOrder.first, waiting < rest.source + rest.count {
      let front = waiting - rest.source
      if front > 0 {
        var piece = rest
        piece.end = piece.start + UInt32(front)
        piece.sourceCount = UInt32(front)
        pool.retain(piece.slab)
        append(piece, to: &stream)
      }
      while let kept = outOfOrder.pop(at: next, in: pool) { append(kept, to: &stream) }
      guard next < rest.source + rest.count else {
        pool.release(rest.slab)
        drain(to: &stream, in: pool)
        return isWhole
      }
      rest.trim(front: next - rest.source)
    }
    append(rest, to: &stream)
    drain(to: &stream, in: pool)
    return isWhole
  }

  private mutating func append(_ segment: Segment, to stream: inout SegmentQueue) {
    next += segment.count
    stream.append(segment)
  }

  /// Notes the source's FIN with the number `sequence`. The one that comes in its turn counts, whatever was announced early.
  mutating func acceptFinish(_ sequence: InSequence) {
    guard !isEnded else { return }
    if finish.map({ $0 < next || sequence == next }) ?? true { finish = sequence }
    if finish == next {
      isEnded = true
      next += 1
    }
  }

  private mutating func drain(to stream: inout SegmentQueue, in pool: SlabPool) {
    while let segment = outOfOrder.pop(at: next, in: pool) { append(segment, to: &stream) }
    if let finish { acceptFinish(finish) }
  }

  /// Keeps a segment that came before its turn; the caller keeps its reference.
  mutating func keep(_ segment: Segment, in pool: SlabPool) -> OutOfOrderQueue.Outcome {
    outOfOrder.insert(segment, in: pool)
  }

  mutating func removeAll(in pool: SlabPool) { outOfOrder.removeAll(in: pool) }
}
