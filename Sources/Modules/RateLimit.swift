import Engine

/// Lets octets of a connection go on at a rate, by a token bucket.
///
/// Nothing of a stream is lost: what is above the rate waits, and the source is slowed down by its window. A datagram above the
/// rate is dropped.
public struct RateLimit: ProcessingModule {
  public static let description = ModuleDescription(
    kind: "ratelimit", access: .edit,
    parameters: [
      Parameter("rate", .integer(1...1 << 40), unit: "octets/s", help: "how many octets go on in a second"),
      Parameter(
        "burst", .integer(1...1 << 30), default: "65536", unit: "octets",
        help: "how many go on at once after a pause; a hundredth of the rate at least"),
    ],
    counters: ["datagrams_dropped"], holdTime: .seconds(60), holdLimit: 16 << 20, paces: true,
    help: "Lets the octets of each connection go on at a rate.")

  private let rate: Int
  private let burst: Int
  /// When the bucket is full again: each octet that goes on puts that off by its share of a second.
  private var full = Instant.zero

  public init(_ arguments: Arguments) {
    rate = arguments.integer("rate")
    // A bucket that holds less would be full before it is looked at again.
    burst = max(arguments.integer("burst"), rate / 100)
  }

  public mutating func process(_ window: inout Window) {
    full = max(full, window.now)
    let tokens = max(0, burst - Int(Double(full - window.now) / 1e9 * Double(rate)))
    if window.isDatagram, window.count > tokens {
      window.count(0)
      window.drop()
      return
    }
    let count = window.mustRelease ? window.count : min(window.count, tokens)
    window.release(upTo: count)
    // What has to go goes at nobody's expense.
    full = full + time(for: min(count, burst))
    guard count < window.count else { return }
    // Not octet by octet, but in pieces of a packet, or of a hundredth of a second.
    let piece = min(window.count - count, burst, max(min(1_460, rate), rate / 100))
    window.wake(after: full - window.now - time(for: burst - piece))
  }

  /// How long so many octets take.
  private func time(for count: Int) -> Nanoseconds { Nanoseconds((Double(count) / Double(rate) * 1e9).rounded(.up)) }
}
