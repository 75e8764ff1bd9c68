/// The bytes that a module on a thread of its own has inserted, until they are handed over.
///
/// Belongs to that thread. Every octet is put in once and dropped once, in whatever pieces.
@safe final class InsertionArena {
  @unsafe private struct Run {
    var bytes: UnsafeMutableRawBufferPointer
    /// Octets not yet dropped.
    var left: Int
  }

  private var runs: [Run] = unsafe []
  private var vacant: [Int] = []

  deinit {
    for index in unsafe runs.indices where unsafe runs[index].left > 0 { unsafe runs[index].bytes.deallocate() }
  }

  func bytes(_ slab: SlabID, _ start: UInt32, _ end: UInt32) -> UnsafeRawBufferPointer {
    unsafe UnsafeRawBufferPointer(rebasing: runs[slab.insertion].bytes[Int(start)..<Int(end)])
  }

  func copy(_ bytes: UnsafeRawBufferPointer) -> (slab: SlabID, start: UInt32, end: UInt32) {
    let run = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
    unsafe run.copyMemory(from: bytes)
    let record = unsafe Run(bytes: run, left: bytes.count)
    let index: Int
    if let free = vacant.popLast() {
      index = free
      unsafe runs[index] = unsafe record
    } else {
      index = unsafe runs.count
      unsafe runs.append(record)
    }
    return (.inserted(index), 0, UInt32(bytes.count))
  }

  /// Forgets `octets` octets of a run, which no segment names any more.
  func drop(_ slab: SlabID, octets: Int) {
    unsafe runs[slab.insertion].left -= octets
    guard unsafe runs[slab.insertion].left == 0 else { return }
    unsafe runs[slab.insertion].bytes.deallocate()
    vacant.append(slab.insertion)
  }
}
