/// Bounds how often something is done: up to 50 times at once, and 1,000 times a second, which are the bounds that Linux has for
/// ICMP (`icmp_msgs_burst`, `icmp_msgs_per_sec`).
struct TokenBucket {
  private var tokens = Self.size
  private var filled: Instant?

  private static var size: Int64 { 50 }
  private static var interval: Nanoseconds { .milliseconds(1) }

  init() {}

  /// Takes a token; false where there is none.
  mutating func take(at now: Instant) -> Bool {
    let filled = filled ?? now
    let fresh = max(0, (now - filled) / Self.interval)
    tokens = min(Self.size, tokens + fresh)
    self.filled = tokens == Self.size ? now : filled + fresh * Self.interval
    guard tokens > 0 else { return false }
    tokens -= 1
    return true
  }
}
