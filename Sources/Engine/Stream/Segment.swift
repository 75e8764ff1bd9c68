/// A run of a stream's bytes: where they lie, and which of the source's sequence numbers they stand for.
///
///     kept      `count` octets of the source          count == sourceCount
///     inserted  `count` octets of a module's          sourceCount == 0
///     removed   none; the source numbered some here   count == 0
///
/// So the segments of a stream always cover the source's sequence space without a hole, whatever modules did to it, and
/// the sequence map is read off what leaves.
struct Segment {
  var slab: SlabID
  var start: UInt32
  var end: UInt32
  /// The first sequence number it stands for; without meaning where `sourceCount` is 0.
  var source: InSequence
  var sourceCount: UInt32

  /// Octets.
  @inline(__always) var count: Int { Int(end &- start) }

  /// Takes the first `count` octets off a kept segment.
  mutating func trim(front count: Int) {
    start += UInt32(count)
    source += count
    sourceCount -= UInt32(count)
  }

  static func kept(_ slab: SlabID, _ start: UInt32, _ end: UInt32, source: InSequence) -> Segment {
    Segment(slab: slab, start: start, end: end, source: source, sourceCount: end - start)
  }

  static func inserted(_ slab: SlabID, _ start: UInt32, _ end: UInt32) -> Segment {
    Segment(slab: slab, start: start, end: end, source: InSequence(0), sourceCount: 0)
  }

  /// - Parameter taken: octets that stood here when the module that has removed them got them.
  static func removed(_ source: InSequence, _ count: UInt32, taken: UInt32 = 0) -> Segment {
    Segment(slab: .none, start: taken, end: taken, source: source, sourceCount: count)
  }

  /// Octets that a module which has this segment now was given for it.
  var taken: Int { slab == .none ? Int(start) : slab.isInserted ? 0 : count }
}
