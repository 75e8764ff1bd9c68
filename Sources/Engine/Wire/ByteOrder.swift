// Loads and stores of integers in network byte order, the only unsafe expressions of this folder. They are safe here:
// any bit pattern is a valid integer, and the span checks its bounds, once for the whole word.

extension Span<UInt8> {
  @inline(__always) func uint16(at offset: Int) -> UInt16 {
    unsafe UInt16(bigEndian: bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt16.self))
  }

  @inline(__always) func uint32(at offset: Int) -> UInt32 {
    unsafe UInt32(bigEndian: bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt32.self))
  }

  @inline(__always) func uint64(at offset: Int) -> UInt64 {
    unsafe UInt64(bigEndian: bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self))
  }

  /// In host order, for sums that do not depend on the order.
  @inline(__always) func hostUInt64(at offset: Int) -> UInt64 {
    unsafe bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self)
  }

  /// Four words in host order.
  @inline(__always) func hostWords(at offset: Int) -> SIMD4<UInt64> {
    unsafe bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: SIMD4<UInt64>.self)
  }
}

extension MutableSpan<UInt8> {
  @inline(__always) func uint16(at offset: Int) -> UInt16 { span.uint16(at: offset) }

  @inline(__always) func uint32(at offset: Int) -> UInt32 { span.uint32(at: offset) }

  @inline(__always) mutating func store(_ value: UInt16, at offset: Int) {
    var bytes = unsafe mutableBytes
    bytes.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt16.self)
  }

  @inline(__always) mutating func store(_ value: UInt32, at offset: Int) {
    var bytes = unsafe mutableBytes
    bytes.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt32.self)
  }

  @inline(__always) mutating func store(_ value: UInt64, at offset: Int) {
    var bytes = unsafe mutableBytes
    bytes.storeBytes(of: value.bigEndian, toByteOffset: offset, as: UInt64.self)
  }
}
