/// The round-trip time to the destination and the retransmission timeout made of it (RFC 6298).
///
/// One segment is timed at once, and none that was sent again (Karn's algorithm).
struct RoundTrip {
  private var smoothed: Nanoseconds?
  private var variation: Nanoseconds = 0
  private var timed: (end: OutSequence, at: Instant)?
  /// Times that the timeout has doubled.
  private(set) var backoff: UInt8 = 0
  /// Timeouts in a row without a word of the destination's.
  private(set) var silence: UInt8 = 0

  /// RFC 6298 asks for a second at least; Linux takes this, and so its peers expect it.
  private static var minimum: Nanoseconds { .milliseconds(200) }
  private static var maximum: Nanoseconds { .seconds(60) }
  /// Timeouts without a word after which the destination is given up: more than 100 seconds (RFC 1122 section 4.2.3.5).
  static var patience: UInt8 { 11 }

  /// RTO
  var timeout: Nanoseconds {
    let base = smoothed.map { max(Self.minimum, $0 + 4 * variation) } ?? .seconds(1)
    return min(Self.maximum, base << Int64(min(backoff, 9)))
  }

  /// How long an acknowledgement takes at the most, as far as is known.
  var bound: Nanoseconds { smoothed.map { $0 + max(.milliseconds(5), 4 * variation) } ?? .seconds(1) }

  mutating func sent(upTo end: OutSequence, at now: Instant) {
    if timed == nil { timed = (end, now) }
  }

  mutating func sentAgain() { timed = nil }

  mutating func expired() {
    timed = nil
    backoff = min(backoff + 1, .max - 1)
    silence = min(silence + 1, .max - 1)
  }

  /// Notes that the destination answers while its window is closed: it may stay so for as long as it likes
  /// (RFC 1122 section 4.2.2.17).
  mutating func heard() { silence = 0 }

  mutating func acknowledged(_ number: OutSequence, at now: Instant) {
    backoff = 0
    silence = 0
    guard let (end, start) = timed, number >= end else { return }
    timed = nil
    let sample = now - start
    guard let before = smoothed else {
      smoothed = sample
      variation = sample / 2
      return
    }
    variation = (3 * variation + abs(before - sample)) / 4
    smoothed = (7 * before + sample) / 8
  }
}
