/// Room for one packet as it comes from the kernel: 72 KiB of the engine's own memory, so that what is kept of the packet
/// need not be copied. Handed back with the packet, or dropped.
public struct ReceiveBuffer: ~Copyable {
  let slab: SlabID
  private let pool: SlabPool

  init?(_ pool: SlabPool) {
    guard let slab = pool.allocate(atLeast: SlabPool.largest) else { return nil }
    self.slab = slab
    self.pool = pool
  }

  deinit { pool.release(slab) }

  /// The octets, valid for as long as the buffer is.
  public var bytes: UnsafeMutableRawBufferPointer { unsafe pool.writable(slab) }
}
