/// What has been injected for one direction in super-packets, and whether they reach its destination.
///
/// They take another road than single packets: by the interface `lo` through the hooks of what is forwarded, where rules that
/// know nothing of it may drop them without a word. So the first ones are a trial. It fails where octets have to be sent again
/// before the destination has acknowledged any of them; after some that have failed in a row no more are made.
struct SuperPackets {
  /// From the first octet of them to behind the last, of those that were not all acknowledged when the last one left; both the
  /// same where there are none, or a trial has failed.
  private var first = OutSequence(0)
  private var last = OutSequence(0)
  /// Trials in a row that have failed; nil after one that has not.
  private var failures: UInt8? = 0
  private static var failureLimit: UInt8 { 3 }

  /// Whether some have left of which it is not known whether they arrive.
  var isTrial: Bool { first < last }
  /// Whether they do not reach the destination.
  var areLost: Bool { failures == Self.failureLimit }

  /// Notes that one leaves with the octets from `from` up to `upTo`, while all in front of `acknowledged` is acknowledged.
  mutating func leave(_ from: OutSequence, _ upTo: OutSequence, acknowledged: OutSequence) {
    look(acknowledged)
    if first < last, last > acknowledged {
      first = .earlier(first, from)
      last = .later(last, upTo)
    } else {
      first = from
      last = upTo
    }
  }

  /// Notes that octets have to be sent again. Returns whether that shows for the first time that they are lost.
  mutating func resend(acknowledged: OutSequence) -> Bool {
    look(acknowledged)
    guard first < last, let failures, !areLost else { return false }
    // What arrives from here on may be what is sent again. The next one is a trial anew.
    first = last
    self.failures = failures + 1
    return areLost
  }

  /// Notes that an ICMP error has come back for one of them: they got as far as that.
  mutating func answered() { failures = nil }

  /// Whether the octet at `number` may have left in one of them.
  func contain(_ number: OutSequence) -> Bool { number >= first && number < last }

  private mutating func look(_ acknowledged: OutSequence) {
    if first < last, acknowledged > first, !areLost { failures = nil }
  }
}

extension Connection {
  /// Notes that octets have to be sent again which may have left in super-packets.
  mutating func doubtSuperPackets(_ direction: Direction, _ environment: inout Environment) {
    guard self[direction].superPackets.isTrial else { return }
    let acknowledged = self[direction].sender.unacknowledged
    if self[direction].superPackets.resend(acknowledged: acknowledged) { environment.counters.superPacketsLost += 1 }
  }
}
