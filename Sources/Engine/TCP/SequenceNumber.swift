/// A 32-bit TCP sequence number, compared modulo 2^32 (RFC 9293 section 3.4).
///
/// Two spaces are told apart by type: what the source of a direction numbered (``InSequence``) and what its destination
/// sees (``OutSequence``). Only ``SequenceMap`` translates. No sequence number is compared raw anywhere.
protocol SequenceNumber: Hashable, Sendable {
  var raw: UInt32 { get set }
  init(_ raw: UInt32)
}

extension SequenceNumber {
  /// Octets from `right` up to `left`; negative where `left` comes first.
  @inline(__always) static func - (left: Self, right: Self) -> Int { Int(Int32(bitPattern: left.raw &- right.raw)) }
  @inline(__always) static func + (left: Self, count: Int) -> Self {
    Self(left.raw &+ UInt32(truncatingIfNeeded: count))
  }
  @inline(__always) static func += (left: inout Self, count: Int) { left = left + count }
  @inline(__always) static func < (left: Self, right: Self) -> Bool { left - right < 0 }
  @inline(__always) static func <= (left: Self, right: Self) -> Bool { left - right <= 0 }
  @inline(__always) static func > (left: Self, right: Self) -> Bool { left - right > 0 }
  @inline(__always) static func >= (left: Self, right: Self) -> Bool { left - right >= 0 }

  @inline(__always) static func later(_ left: Self, _ right: Self) -> Self { left < right ? right : left }
  @inline(__always) static func earlier(_ left: Self, _ right: Self) -> Self { left < right ? left : right }
}

/// A sequence number as the source of a direction counts.
struct InSequence: SequenceNumber {
  var raw: UInt32
  @inline(__always) init(_ raw: UInt32) { self.raw = raw }
}

/// A sequence number as the destination of a direction counts.
struct OutSequence: SequenceNumber {
  var raw: UInt32
  @inline(__always) init(_ raw: UInt32) { self.raw = raw }
}
