/// Where packets are received into: slabs of the engine's own, so that what is kept of a packet need not be copied.
///
/// A slab that something of a packet stays in is replaced by a fresh one; all others serve for the next packet as they are.
@safe struct ReceiveBuffers {
  private var slabs: [SlabID] = []
  private(set) var places: [UnsafeMutableRawBufferPointer] = unsafe []

  /// Sees to it that there are `count` of them.
  mutating func reserve(_ count: Int, in pool: SlabPool) {
    while slabs.count < count {
      let slab = pool.allocateReserved(atLeast: SlabPool.largest)
      slabs.append(slab)
      unsafe places.append(pool.writable(slab))
    }
  }

  func slab(_ index: Int) -> SlabID { slabs[index] }

  /// Makes the buffer at `index` ready for another packet.
  mutating func renew(_ index: Int, in pool: SlabPool) {
    guard pool.isShared(slabs[index]) else { return }
    pool.release(slabs[index])
    slabs[index] = pool.allocateReserved(atLeast: SlabPool.largest)
    unsafe places[index] = unsafe pool.writable(slabs[index])
  }

  mutating func removeAll(in pool: SlabPool) {
    for slab in slabs { pool.release(slab) }
    slabs.removeAll()
    unsafe places.removeAll()
  }
}
