import Glibc

/// Names one slab of a ``SlabPool``.
struct SlabID: Hashable, Sendable {
  var index: UInt32

  /// No slab: the place of bytes that were removed.
  static let none = SlabID(index: .max)

  /// Names bytes in an ``InsertionArena``.
  static func inserted(_ number: Int) -> SlabID { SlabID(index: 1 << 31 | UInt32(number)) }
  var isInserted: Bool { index >= 1 << 31 && self != .none }
  var insertion: Int { Int(index & ~(1 << 31)) }
}

/// The buffers that packets and inserted bytes lie in.
///
/// Slabs come in four sizes and are reference counted by hand: every ``Segment`` in a queue holds one reference. A pool
/// belongs to one engine and so to one thread; the handle is copied freely, the state behind it is not.
///
/// To a module on a thread of its own the pool is lent, see ``lent(_:)``: it reads there what it was handed, while the engine
/// keeps the references.
///
///     class   octets   what for
///     0          256   headers, keystrokes
///     1        2,048   packets of an Ethernet MTU, inserted bytes
///     2       16,384   jumbo frames, small super-packets
///     3       73,728   what a packet of 64 KiB is received into, netlink's attributes included
@safe struct SlabPool {
  private struct Slab {
    var references: UInt32
    var sizeClass: UInt8
  }

  /// The records of ``recordsOfBlock`` slabs, and where those lie. None of it moves: other threads may look up where a slab that
  /// was lent to them lies, and they touch nothing that changes while it is lent.
  @unsafe private struct Block {
    let bases: UnsafeMutablePointer<UnsafeMutableRawPointer>
    let slabs: UnsafeMutablePointer<Slab>
  }

  @unsafe private struct State {
    var slabCount = 0
    var free: (ContiguousArray<UInt32>, ContiguousArray<UInt32>, ContiguousArray<UInt32>, ContiguousArray<UInt32>) =
      ([], [], [], [])
    /// Indices whose memory went back to the system.
    var vacant: ContiguousArray<UInt32> = []
    var chunks: ContiguousArray<UnsafeMutableRawPointer> = unsafe []
    var inUse = 0
    var reserved = 0
    /// Where small runs of bytes are put one behind the other.
    var shelf = SlabID.none
    var shelfUsed = 0
  }

  private static var sizes: (Int, Int, Int, Int) { (256, 2_048, 16_384, 73_728) }
  /// Octets got from the system at once for the smaller classes.
  private static var chunkSize: Int { 65_536 }
  private static var recordsOfBlock: Int { 1_024 }
  /// An index has 31 bits.
  private static var blockLimit: Int { 1 << 21 }
  /// Free slabs of the largest class that are kept; more go back to the system.
  private static var spareLarge: Int { 64 }

  /// Octets up to which what is kept of a packet moves to a slab of its size.
  static var small: Int { sizes.2 }

  /// Octets of the largest slab.
  static var largest: Int { sizes.3 }

  private let blocks: UnsafeMutablePointer<Block?>
  private let state: UnsafeMutablePointer<State>
  /// Octets that may be in use; beyond it nothing is handed out.
  let limit: Int
  /// Where a borrower puts what it inserts; nil for the owner.
  let arena: InsertionArena?

  init(limit: Int) {
    // Zeroes that take memory only where they are written to.
    guard let zeroes = unsafe calloc(Self.blockLimit, MemoryLayout<Block?>.stride) else {
      preconditionFailure("there is no memory")
    }
    unsafe blocks = zeroes.assumingMemoryBound(to: Block?.self)
    unsafe state = .allocate(capacity: 1)
    unsafe state.initialize(to: State())
    self.limit = limit
    arena = nil
  }

  private init(_ lender: SlabPool, arena: InsertionArena) {
    unsafe blocks = lender.blocks
    unsafe state = lender.state
    limit = lender.limit
    self.arena = arena
  }

  /// The pool as a borrower on another thread has it: it may look at the slabs that it was handed for as long as the owner
  /// keeps them, holds no references, and puts what it inserts into `arena`.
  func lent(_ arena: InsertionArena) -> SlabPool { SlabPool(self, arena: arena) }

  private func record(_ index: UInt32) -> UnsafeMutablePointer<Slab> {
    let (block, place) = Int(index).quotientAndRemainder(dividingBy: Self.recordsOfBlock)
    guard let block = unsafe blocks[block] else { preconditionFailure("there is no such slab") }
    return unsafe block.slabs + place
  }

  /// Where a slab lies.
  private func base(_ index: UInt32) -> UnsafeMutableRawPointer {
    let (block, place) = Int(index).quotientAndRemainder(dividingBy: Self.recordsOfBlock)
    guard let block = unsafe blocks[block] else { preconditionFailure("there is no such slab") }
    return unsafe block.bases[place]
  }

  /// Adds a slab, or has it take the place of one whose memory went back to the system, and returns its index.
  private func append(_ base: UnsafeMutableRawPointer, _ sizeClass: UInt8) -> UInt32 {
    let index: UInt32
    if let vacant = unsafe state.pointee.vacant.popLast() {
      index = vacant
    } else {
      index = unsafe UInt32(state.pointee.slabCount)
      unsafe state.pointee.slabCount += 1
    }
    let (block, place) = Int(index).quotientAndRemainder(dividingBy: Self.recordsOfBlock)
    precondition(block < Self.blockLimit, "there are too many slabs")
    // Written once and never again: borrowers on other threads read it.
    if unsafe blocks[block] == nil {
      unsafe blocks[block] = unsafe Block(
        bases: .allocate(capacity: Self.recordsOfBlock), slabs: .allocate(capacity: Self.recordsOfBlock))
    }
    guard let records = unsafe blocks[block] else { preconditionFailure("a block was just made") }
    unsafe (records.bases + place).initialize(to: base)
    unsafe (records.slabs + place).initialize(to: Slab(references: 0, sizeClass: sizeClass))
    return index
  }

  /// Gives all memory back. No segment may be alive.
  func destroy() {
    for index in unsafe 0..<UInt32(state.pointee.slabCount) where unsafe record(index).pointee.sizeClass == 3 {
      unsafe base(index).deallocate()
    }
    for block in 0..<Self.blockLimit {
      guard let records = unsafe blocks[block] else { break }
      unsafe records.bases.deallocate()
      unsafe records.slabs.deallocate()
    }
    unsafe free(blocks)
    for index in unsafe state.pointee.chunks.indices { unsafe state.pointee.chunks[index].deallocate() }
    unsafe state.deinitialize(count: 1)
    unsafe state.deallocate()
  }

  var inUse: Int { unsafe state.pointee.inUse }
  var reserved: Int { unsafe state.pointee.reserved }

  private static func sizeClass(for count: Int) -> UInt8 {
    if count <= sizes.0 { return 0 }
    if count <= sizes.1 { return 1 }
    if count <= sizes.2 { return 2 }
    precondition(count <= sizes.3, "no slab is that large")
    return 3
  }

  private static func size(of sizeClass: UInt8) -> Int {
    switch sizeClass {
    case 0: sizes.0
    case 1: sizes.1
    case 2: sizes.2
    default: sizes.3
    }
  }

  /// A slab of at least `count` octets with one reference, or nil where the limit is reached: for what is let in.
  func allocate(atLeast count: Int) -> SlabID? {
    hasRoom(for: count) ? allocateReserved(atLeast: count) : nil
  }

  private func hasRoom(for count: Int) -> Bool {
    unsafe state.pointee.inUse + Self.size(of: Self.sizeClass(for: count)) <= limit
  }

  /// A slab of at least `count` octets with one reference, whatever the limit: for the few that packets are received into, for
  /// what is made of bytes that were let in below it, and for what leaves. Where nothing could leave for want of memory, nothing
  /// would be acknowledged, and no memory would ever become free.
  func allocateReserved(atLeast count: Int) -> SlabID {
    let sizeClass = Self.sizeClass(for: count)
    let size = Self.size(of: sizeClass)
    let index = popFree(sizeClass) ?? grow(sizeClass)
    unsafe record(index).pointee.references = 1
    unsafe state.pointee.inUse += size
    return SlabID(index: index)
  }

  /// Whether there is more than one reference.
  func isShared(_ slab: SlabID) -> Bool { unsafe record(slab.index).pointee.references > 1 }

  private func popFree(_ sizeClass: UInt8) -> UInt32? {
    switch sizeClass {
    case 0: unsafe state.pointee.free.0.popLast()
    case 1: unsafe state.pointee.free.1.popLast()
    case 2: unsafe state.pointee.free.2.popLast()
    default: unsafe state.pointee.free.3.popLast()
    }
  }

  private func pushFree(_ index: UInt32, _ sizeClass: UInt8) {
    switch sizeClass {
    case 0: unsafe state.pointee.free.0.append(index)
    case 1: unsafe state.pointee.free.1.append(index)
    case 2: unsafe state.pointee.free.2.append(index)
    default:
      guard unsafe state.pointee.free.3.count >= Self.spareLarge else {
        unsafe state.pointee.free.3.append(index)
        return
      }
      unsafe base(index).deallocate()
      unsafe record(index).pointee.sizeClass = 0xFF
      unsafe state.pointee.vacant.append(index)
      unsafe state.pointee.reserved -= Self.sizes.3
    }
  }

  private func grow(_ sizeClass: UInt8) -> UInt32 {
    let size = Self.size(of: sizeClass)
    if sizeClass == 3 {
      unsafe state.pointee.reserved += size
      return unsafe append(.allocate(byteCount: size, alignment: 64), sizeClass)
    }
    let chunk = UnsafeMutableRawPointer.allocate(byteCount: Self.chunkSize, alignment: 64)
    unsafe state.pointee.chunks.append(chunk)
    unsafe state.pointee.reserved += Self.chunkSize
    for offset in stride(from: 0, to: Self.chunkSize, by: size) {
      unsafe pushFree(append(chunk + offset, sizeClass), sizeClass)
    }
    guard let index = popFree(sizeClass) else { preconditionFailure("a chunk holds slabs") }
    return index
  }

  @inline(__always)
  func retain(_ slab: SlabID) {
    guard arena == nil else { return }
    unsafe record(slab.index).pointee.references += 1
  }

  func release(_ slab: SlabID) {
    guard arena == nil else { return }
    let references = unsafe record(slab.index).pointee.references - 1
    unsafe record(slab.index).pointee.references = references
    guard references == 0 else { return }
    let sizeClass = unsafe record(slab.index).pointee.sizeClass
    unsafe state.pointee.inUse -= Self.size(of: sizeClass)
    pushFree(slab.index, sizeClass)
  }

  /// Gives back the reference that a segment holds.
  func release(_ segment: Segment) {
    if segment.slab == .none { return }
    if let arena {
      if segment.slab.isInserted { arena.drop(segment.slab, octets: segment.count) }
    } else {
      release(segment.slab)
    }
  }

  /// Octets that the slab really takes.
  func cost(of slab: SlabID) -> Int {
    unsafe Self.size(of: record(slab.index).pointee.sizeClass)
  }

  /// The whole slab, to write into.
  func writable(_ slab: SlabID) -> UnsafeMutableRawBufferPointer {
    unsafe UnsafeMutableRawBufferPointer(
      start: base(slab.index), count: Self.size(of: record(slab.index).pointee.sizeClass))
  }

  /// The octets from `start` up to `end`.
  @inline(__always)
  func bytes(_ slab: SlabID, _ start: UInt32, _ end: UInt32) -> UnsafeRawBufferPointer {
    if let arena, slab.isInserted { return unsafe arena.bytes(slab, start, end) }
    return unsafe UnsafeRawBufferPointer(
      start: base(slab.index) + Int(start), count: Int(end &- start))
  }

  /// Copies `bytes` into a slab, small runs one behind the other into the same one, and returns where they lie, with one
  /// reference; nil where the limit is reached.
  func copy(_ bytes: UnsafeRawBufferPointer) -> (slab: SlabID, start: UInt32, end: UInt32)? {
    guard hasRoom(for: bytes.count) else { return nil }
    return unsafe copyReserved(bytes)
  }

  /// Copies `bytes` to the start of a slab of their own, with one reference; nil where the limit is reached.
  func copy(whole bytes: UnsafeRawBufferPointer) -> SlabID? {
    guard hasRoom(for: bytes.count) else { return nil }
    return unsafe copyReserved(whole: bytes)
  }

  /// As ``copy(whole:)``, whatever the limit.
  func copyReserved(whole bytes: UnsafeRawBufferPointer) -> SlabID {
    let slab = allocateReserved(atLeast: bytes.count)
    unsafe writable(slab).copyMemory(from: bytes)
    return slab
  }

  /// As ``copy(_:)``, whatever the limit.
  func copyReserved(_ bytes: UnsafeRawBufferPointer) -> (slab: SlabID, start: UInt32, end: UInt32) {
    if let arena { return unsafe arena.copy(bytes) }
    let shelfSize = Self.sizes.1
    guard bytes.count <= shelfSize / 4 else {
      let slab = allocateReserved(atLeast: bytes.count)
      unsafe writable(slab).copyMemory(from: bytes)
      return (slab, 0, UInt32(bytes.count))
    }
    if unsafe state.pointee.shelf == .none || state.pointee.shelfUsed + bytes.count > shelfSize {
      let fresh = allocateReserved(atLeast: shelfSize)
      if unsafe state.pointee.shelf != .none { unsafe release(state.pointee.shelf) }
      unsafe state.pointee.shelf = fresh
      unsafe state.pointee.shelfUsed = 0
    }
    let shelf = unsafe state.pointee.shelf
    let start = unsafe state.pointee.shelfUsed
    unsafe UnsafeMutableRawBufferPointer(rebasing: writable(shelf)[start...]).copyMemory(from: bytes)
    unsafe state.pointee.shelfUsed += bytes.count
    retain(shelf)
    return (shelf, UInt32(start), UInt32(start + bytes.count))
  }
}
