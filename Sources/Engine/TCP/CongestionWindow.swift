/// The congestion window for what is ours to deliver (RFC 5681), and the recovery of what was lost of it (RFC 6582).
///
/// What the source delivers itself follows the source's own congestion control; this one only counts while octets are owed.
struct CongestionWindow {
  /// Where a recovery stands.
  struct Recovery {
    /// The recovery is over when the destination has acknowledged up to here: SND.NXT when the loss was noticed.
    let point: OutSequence
    /// Behind what has been sent again in this recovery.
    var resent: OutSequence
  }

  /// No window of TCP is larger (RFC 7323 section 2.3). Half the circle and more behind SND.UNA would be in front of it.
  private static var limit: Int { 1 << 30 }

  /// cwnd and ssthresh, in octets.
  private var window: UInt32
  private var threshold = UInt32.max
  var recovery: Recovery?

  /// Ten segments, as RFC 6928 begins.
  static func initial(_ segment: Int) -> CongestionWindow { CongestionWindow(octets: 10 * segment) }

  private init(octets: Int) { window = UInt32(clamping: octets) }

  /// cwnd, in octets.
  var octets: Int { Int(window) }

  /// Takes note of `count` octets newly acknowledged.
  mutating func acknowledged(_ count: Int, segment: Int) {
    guard recovery == nil else { return }
    let more = window < threshold ? min(count, 2 * segment) : max(1, segment * min(count, segment) / octets)
    window = UInt32(min(octets + more, Self.limit))
  }

  /// Something was lost with `flight` octets under way: told by duplicate acknowledgements.
  mutating func lost(_ flight: Int, segment: Int) {
    threshold = UInt32(clamping: max(flight / 2, 2 * segment))
    window = threshold
  }

  /// Something was lost with `flight` octets under way: nothing was heard in time.
  mutating func expired(_ flight: Int, segment: Int) {
    lost(flight, segment: segment)
    window = UInt32(clamping: segment)
  }
}
