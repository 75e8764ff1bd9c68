import ModuleTesting
import Testing

@testable import Engine

@Suite struct OutOfOrderQueueTests {
  /// The queue against an array of octets in which the first copy wins.
  @Test func agreesWithAnArray() {
    for seed in 0..<200 as Range<UInt64> {
      var random = SplitMix(seed: seed)
      let pool = SlabPool(limit: 1 << 24)
      defer { pool.destroy() }
      let first = UInt32.max - 100
      var queue = OutOfOrderQueue()
      var model = [UInt8?](repeating: nil, count: 400)
      var next = 0
      for _ in 0..<80 where next < 390 {
        let start = Int.random(in: next..<390, using: &random)
        let bytes = (0..<Int.random(in: 1...min(40, 400 - start), using: &random)).map { _ in
          UInt8.random(in: 0...255, using: &random)
        }
        let contradicts = bytes.enumerated().contains {
          model[start + $0.offset].map { $0 } ?? $0.element != $0.element
        }
        let place = unsafe bytes.withUnsafeBytes { unsafe pool.copy($0)! }
        let segment = Segment.kept(place.slab, place.start, place.end, source: InSequence(first) + start)
        #expect(queue.insert(segment, in: pool) == (contradicts ? .contradicted : .kept), "seed \(seed)")
        pool.release(place.slab)
        for (offset, byte) in bytes.enumerated() where model[start + offset] == nil { model[start + offset] = byte }
        if random.once(in: 4) {
          let filled = next + Int.random(in: 0...3, using: &random)
          next = filled
          while let segment = queue.pop(at: InSequence(first) + next, in: pool) {
            let got = unsafe Array(pool.bytes(segment.slab, segment.start, segment.end))
            #expect(segment.source == InSequence(first) + next)
            #expect(got == model[next..<next + got.count].map { $0 }, "seed \(seed)")
            next += got.count
            pool.release(segment.slab)
          }
          #expect(next >= 400 || model[next] == nil || next == filled, "stopped short, seed \(seed)")
          for index in 0..<min(next, 400) { model[index] = nil }
        }
      }
      queue.removeAll(in: pool)
      #expect(pool.inUse <= 2_048)
    }
  }

  @Test func isBoundedInSegmentsAndInRealOctets() {
    let pool = SlabPool(limit: 1 << 30)
    defer { pool.destroy() }
    var queue = OutOfOrderQueue()
    var refused = 0
    for index in 0..<5_000 {
      let byte: [UInt8] = [1]
      let place = unsafe byte.withUnsafeBytes { unsafe pool.copy($0)! }
      let outcome = queue.insert(
        .kept(place.slab, place.start, place.end, source: InSequence(UInt32(index * 2))), in: pool)
      if outcome == .refused { refused += 1 }
      pool.release(place.slab)
    }
    #expect(queue.count <= OutOfOrderQueue.countLimit && refused == 5_000 - queue.count)
    #expect(queue.cost <= OutOfOrderQueue.costLimit)
    queue.removeAll(in: pool)
  }

  @Test func tellsTheLatestBlockFirst() {
    let pool = SlabPool(limit: 1 << 20)
    defer { pool.destroy() }
    var queue = OutOfOrderQueue()
    for start in [100, 110, 200, 300] as [UInt32] {
      let bytes = [UInt8](repeating: 0, count: 10)
      let place = unsafe bytes.withUnsafeBytes { unsafe pool.copy($0)! }
      _ = queue.insert(.kept(place.slab, place.start, place.end, source: InSequence(start)), in: pool)
      pool.release(place.slab)
    }
    var blocks: [ClosedRange<UInt32>] = []
    queue.blocks(recent: InSequence(200), limit: 3) { blocks.append($0.raw...$1.raw) }
    #expect(blocks == [200...210, 100...120, 300...310])
    queue.removeAll(in: pool)
  }
}
