/// What a module on a thread of its own lets go of, as the engine is to have it: octets that it inserted are taken out of its arena.
struct Leaving {
  private(set) var segments: [Segment] = []
  private(set) var inserted: [UInt8] = []
  private(set) var octets = 0

  mutating func add(_ segment: Segment, from arena: InsertionArena) {
    octets += segment.count
    guard segment.slab.isInserted else {
      segments.append(segment)
      return
    }
    let start = UInt32(inserted.count)
    unsafe inserted.append(contentsOf: arena.bytes(segment.slab, segment.start, segment.end))
    segments.append(.inserted(segment.slab, start, UInt32(inserted.count)))
    arena.drop(segment.slab, octets: segment.count)
  }
}

extension SegmentQueue {
  /// Takes over a segment that a thread has returned, its octets in `inserted` where the module has made them.
  mutating func append(returned segment: Segment, _ inserted: [UInt8], in pool: SlabPool) {
    if segment.slab.isInserted {
      var done = Int(segment.start)
      while done < Int(segment.end) {
        let length = min(Int(segment.end) - done, SlabPool.largest)
        let place = unsafe inserted.withUnsafeBytes {
          unsafe pool.copyReserved(UnsafeRawBufferPointer(rebasing: $0[done..<done + length]))
        }
        append(.inserted(place.slab, place.start, place.end))
        done += length
      }
    } else if segment.slab != .none {
      pool.retain(segment.slab)
      append(segment)
    } else if segment.sourceCount > 0 {
      append(.removed(segment.source, segment.sourceCount))
    }
  }
}
