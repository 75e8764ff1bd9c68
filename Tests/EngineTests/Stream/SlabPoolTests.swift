import Testing

@testable import Engine

@Suite struct SlabPoolTests {
  @Test func costsWhatItHolds() throws {
    let pool = SlabPool(limit: 200_000)
    defer { pool.destroy() }
    for (count, cost) in [(1, 256), (257, 2_048), (2_049, 16_384), (16_385, 73_728)] {
      let slab = try #require(pool.allocate(atLeast: count))
      #expect(pool.cost(of: slab) == cost && pool.inUse == cost)
      pool.retain(slab)
      pool.release(slab)
      #expect(pool.inUse == cost)
      pool.release(slab)
      #expect(pool.inUse == 0)
    }
  }

  @Test func refusesBeyondItsLimit() throws {
    let pool = SlabPool(limit: 100_000)
    defer { pool.destroy() }
    let slab = try #require(pool.allocate(atLeast: 70_000))
    #expect(pool.allocate(atLeast: 70_000) == nil)
    pool.release(slab)
    #expect(pool.allocate(atLeast: 70_000) != nil)
  }

  @Test func givesMemoryOfLargeSlabsBack() {
    let pool = SlabPool(limit: 1 << 30)
    defer { pool.destroy() }
    let slabs = (0..<200).compactMap { _ in pool.allocate(atLeast: 70_000) }
    #expect(pool.reserved == 200 * 73_728)
    for slab in slabs { pool.release(slab) }
    #expect(pool.reserved == 64 * 73_728 && pool.inUse == 0)
  }

  @Test func putsSmallRunsBehindEachOther() throws {
    let pool = SlabPool(limit: 1 << 20)
    defer { pool.destroy() }
    let bytes: [UInt8] = [1, 2, 3]
    let one = try unsafe #require(bytes.withUnsafeBytes { unsafe pool.copy($0) })
    let two = try unsafe #require(bytes.withUnsafeBytes { unsafe pool.copy($0) })
    #expect(one.slab == two.slab && one.end == two.start)
    #expect(unsafe Array(pool.bytes(two.slab, two.start, two.end)) == bytes)
    pool.release(one.slab)
    pool.release(two.slab)
  }
}
