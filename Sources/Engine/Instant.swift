/// A point on the engine's clock, in nanoseconds since an origin that the caller chooses.
///
/// The engine reads no clock: whoever drives it passes the time in, monotonic under NFQUEUE, virtual in tests, the
/// capture's own in `flowos replay`.
public struct Instant: Comparable, Hashable, Sendable {
  public var nanoseconds: Int64

  @inlinable public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

  public static let zero = Instant(nanoseconds: 0)

  @inlinable public static func < (left: Instant, right: Instant) -> Bool { left.nanoseconds < right.nanoseconds }
  @inlinable public static func + (instant: Instant, span: Nanoseconds) -> Instant {
    Instant(nanoseconds: instant.nanoseconds &+ span)
  }
  @inlinable public static func - (left: Instant, right: Instant) -> Nanoseconds {
    left.nanoseconds &- right.nanoseconds
  }
}

/// A span of time in nanoseconds.
public typealias Nanoseconds = Int64

extension Nanoseconds {
  @inlinable public static func milliseconds(_ count: Int64) -> Nanoseconds { count * 1_000_000 }
  @inlinable public static func seconds(_ count: Int64) -> Nanoseconds { count * 1_000_000_000 }
}
