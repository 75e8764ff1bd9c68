/// Finds the slot of a table by a hash of its key; the keys themselves stand in the table.
///
/// Open addressing with linear probing, eight octets a bucket, of which three in four are in use at the most. The hash has to be
/// seeded: who chooses the keys must not choose the buckets.
@safe struct SlotIndex: ~Copyable {
  /// The slot, and 32 bits of the hash of its key, which spare most looks at keys that are others.
  private struct Bucket {
    var slot: UInt32
    var hash: UInt32

    static let vacant = Bucket(slot: .max, hash: 0)
    var isVacant: Bool { slot == .max }
  }

  private var buckets: UnsafeMutableBufferPointer<Bucket>
  private(set) var count = 0

  init() { unsafe buckets = Self.allocate(64) }

  deinit { unsafe buckets.deallocate() }

  private static func allocate(_ count: Int) -> UnsafeMutableBufferPointer<Bucket> {
    let buckets = UnsafeMutableBufferPointer<Bucket>.allocate(capacity: count)
    unsafe buckets.initialize(repeating: .vacant)
    return unsafe buckets
  }

  private var mask: Int { unsafe buckets.count - 1 }
  private static func short(_ hash: Int) -> UInt32 { UInt32(truncatingIfNeeded: hash) }

  /// The slot with `hash` of which `isMeant` says that it is the one.
  func find(_ hash: Int, _ isMeant: (UInt32) -> Bool) -> UInt32? {
    let hash = Self.short(hash)
    var place = Int(hash) & mask
    while true {
      let bucket = unsafe buckets[place]
      if bucket.isVacant { return nil }
      if bucket.hash == hash, isMeant(bucket.slot) { return bucket.slot }
      place = (place + 1) & mask
    }
  }

  /// Enters a slot that is not there yet.
  mutating func insert(_ slot: UInt32, _ hash: Int) {
    if unsafe 4 * (count + 1) > 3 * buckets.count { grow() }
    put(Bucket(slot: slot, hash: Self.short(hash)))
    count += 1
  }

  private func put(_ bucket: Bucket) {
    var place = Int(bucket.hash) & mask
    while unsafe !buckets[place].isVacant { place = (place + 1) & mask }
    unsafe buckets[place] = bucket
  }

  private mutating func grow() {
    let old = unsafe buckets
    unsafe buckets = Self.allocate(2 * old.count)
    for index in old.indices where unsafe !old[index].isVacant { put(unsafe old[index]) }
    unsafe old.deallocate()
  }

  /// Removes a slot that is there.
  mutating func remove(_ slot: UInt32, _ hash: Int) {
    var hole = Int(Self.short(hash)) & mask
    while unsafe buckets[hole].slot != slot { hole = (hole + 1) & mask }
    // What stands behind it, and not where it would stand by its hash, moves up.
    var next = (hole + 1) & mask
    while unsafe !buckets[next].isVacant {
      let home = unsafe Int(buckets[next].hash) & mask
      if (next - home) & mask >= (next - hole) & mask {
        unsafe buckets[hole] = buckets[next]
        hole = next
      }
      next = (next + 1) & mask
    }
    unsafe buckets[hole] = .vacant
    count -= 1
  }
}
