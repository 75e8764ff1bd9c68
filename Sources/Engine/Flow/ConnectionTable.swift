/// The connections of one engine, found by their ends.
///
/// Each lies in memory of its own and never moves, so that a growing table stops no packet for longer than its index
/// takes to grow. Hashing is seeded: who chooses the ports does not choose the buckets.
@safe struct ConnectionTable: ~Copyable {
  /// A place in the table. The generation tells whether it is still the same connection that lives there.
  struct Place: Hashable, Sendable {
    var slot: UInt32
    var generation: UInt32
  }

  private var index = SlotIndex()
  private var slots: ContiguousArray<UnsafeMutablePointer<Connection>?> = unsafe []
  private var generations: ContiguousArray<UInt32> = []
  private var vacant: ContiguousArray<UInt32> = []
  /// Where the search for a connection to give up goes on.
  private var hand = 0

  /// Slots that one such search looks at.
  private static var searchLimit: Int { 64 }

  init() {}

  deinit {
    for slot in unsafe slots.indices where unsafe slots[slot] != nil { free(UInt32(slot)) }
  }

  var count: Int { index.count }

  /// The slot of the connection between the two ends.
  func find(_ key: ConnectionKey) -> UInt32? { index.find(key.hashValue) { self[$0].key == key } }

  /// The connection in a slot that is in use.
  subscript(slot: UInt32) -> Connection {
    @inline(__always) unsafeAddress {
      guard let connection = unsafe slots[Int(slot)] else { preconditionFailure("no connection in this slot") }
      return unsafe UnsafePointer(connection)
    }
    @inline(__always) unsafeMutableAddress {
      guard let connection = unsafe slots[Int(slot)] else { preconditionFailure("no connection in this slot") }
      return unsafe connection
    }
  }

  func place(_ slot: UInt32) -> Place { Place(slot: slot, generation: generations[Int(slot)]) }

  /// Whether the connection that was in `place` still is.
  func isCurrent(_ place: Place) -> Bool {
    unsafe generations[Int(place.slot)] == place.generation && slots[Int(place.slot)] != nil
  }

  mutating func insert(_ connection: consuming Connection) -> UInt32 {
    let memory = UnsafeMutablePointer<Connection>.allocate(capacity: 1)
    let key = connection.key
    unsafe memory.initialize(to: connection)
    let slot: UInt32
    if let free = vacant.popLast() {
      slot = free
      unsafe slots[Int(slot)] = memory
    } else {
      slot = unsafe UInt32(slots.count)
      unsafe slots.append(memory)
      generations.append(0)
    }
    index.insert(slot, key.hashValue)
    return slot
  }

  /// Ends a connection and gives back what it holds.
  mutating func remove(_ slot: UInt32, in pool: SlabPool) {
    guard let memory = unsafe slots[Int(slot)] else { return }
    unsafe memory.pointee.removeAll(in: pool)
    unsafe index.remove(slot, memory.pointee.key.hashValue)
    free(slot)
    unsafe slots[Int(slot)] = nil
    generations[Int(slot)] &+= 1
    vacant.append(slot)
  }

  private func free(_ slot: UInt32) {
    guard let memory = unsafe slots[Int(slot)] else { return }
    unsafe memory.deinitialize(count: 1)
    unsafe memory.deallocate()
  }

  /// A connection that may make room for another, if there is one among the next few.
  mutating func expendable(_ isExpendable: (borrowing Connection) -> Bool) -> UInt32? {
    for _ in unsafe 0..<min(Self.searchLimit, slots.count) {
      hand = unsafe (hand + 1) % slots.count
      if let connection = unsafe slots[hand], isExpendable(unsafe connection.pointee) { return UInt32(hand) }
    }
    return nil
  }

  /// Octets that the connections themselves take.
  var memory: Int { count * (MemoryLayout<Connection>.stride + 2 * MemoryLayout<Half>.stride) }

  /// The slots in use.
  var occupied: [UInt32] {
    unsafe slots.indices.compactMap { unsafe slots[$0] == nil ? nil : UInt32($0) }
  }
}
