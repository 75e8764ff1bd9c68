/// The associations of one engine, found by their ends, in the order in which they were last heard of.
///
/// Each lies in memory of its own and never moves.
@safe struct AssociationTable: ~Copyable {
  private var index: [ConnectionKey: Int] = [:]
  private var slots: ContiguousArray<UnsafeMutablePointer<Association>?> = unsafe []
  private var vacant: ContiguousArray<Int> = []
  private var oldest: Int?
  private var newest: Int?

  init() {}

  deinit {
    for slot in unsafe slots.indices where unsafe slots[slot] != nil { free(slot) }
  }

  var count: Int { index.count }

  func find(_ key: ConnectionKey) -> Int? { index[key] }

  /// The association in a slot that is in use.
  subscript(slot: Int) -> Association {
    @inline(__always) unsafeAddress { unsafe UnsafePointer(address(slot)) }
    @inline(__always) unsafeMutableAddress { unsafe address(slot) }
  }

  @unsafe @inline(__always) private func address(_ slot: Int) -> UnsafeMutablePointer<Association> {
    guard let association = unsafe slots[slot] else { preconditionFailure("no association in this slot") }
    return unsafe association
  }

  /// Octets that the associations themselves take.
  var memory: Int { count * MemoryLayout<Association>.stride }

  /// The slots in use.
  var occupied: [Int] { unsafe slots.indices.filter { unsafe slots[$0] != nil } }

  /// The one that has been silent for longest.
  var leastRecent: Int? { oldest }

  mutating func insert(_ association: consuming Association) -> Int {
    let key = association.key
    let memory = UnsafeMutablePointer<Association>.allocate(capacity: 1)
    unsafe memory.initialize(to: association)
    let slot: Int
    if let free = vacant.popLast() {
      slot = free
      unsafe slots[slot] = memory
    } else {
      slot = unsafe slots.count
      unsafe slots.append(memory)
    }
    index[key] = slot
    append(slot)
    return slot
  }

  mutating func remove(_ slot: Int) {
    unlink(slot)
    index[self[slot].key] = nil
    free(slot)
    unsafe slots[slot] = nil
    vacant.append(slot)
  }

  private func free(_ slot: Int) {
    let memory = unsafe address(slot)
    unsafe memory.deinitialize(count: 1)
    unsafe memory.deallocate()
  }

  /// Notes that something of the association has come by.
  mutating func touch(_ slot: Int, at now: Instant) {
    self[slot].lastDatagram = now
    guard newest != slot else { return }
    unlink(slot)
    append(slot)
  }

  private mutating func unlink(_ slot: Int) {
    let (older, newer) = (self[slot].older, self[slot].newer)
    if let older { self[older].newer = newer } else { oldest = newer }
    if let newer { self[newer].older = older } else { newest = older }
  }

  private mutating func append(_ slot: Int) {
    self[slot].older = newest
    self[slot].newer = nil
    if let newest { self[newest].newer = slot } else { oldest = slot }
    newest = slot
  }
}
