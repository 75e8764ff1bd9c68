/// Urgent data (RFC 9293 section 3.8.5): a mark in the stream that says how far it is urgent.
///
/// The mark goes with the octet in front of it, wherever that one goes. Where a module has removed that octet there is nothing
/// left to point at, and the mark is gone too.
extension Connection {
  /// Notes where a segment says that the urgent octets end, and forgets a mark that the destination has passed.
  ///
  /// Every segment has it looked at, not only urgent ones: half the circle on, a mark that was kept would lie in front again, and
  /// call an octet urgent that never was, which some receivers take out of the stream.
  mutating func noteUrgent(_ arrival: Arrival, _ direction: Direction) {
    if let known = self[direction].urgentEnd, isPassed(known, direction) { self[direction].urgentEnd = nil }
    guard arrival.tcp.flags.contains(.urg) else { return }
    let end = arrival.sequence + Int(arrival.tcp.urgentPointer)
    guard !isPassed(end, direction) else { return }
    self[direction].urgentEnd = self[direction].urgentEnd.map { .later($0, end) } ?? end
  }

  /// Whether the destination has acknowledged all in front of `end`; what was removed counts as acknowledged.
  private func isPassed(_ end: InSequence, _ direction: Direction) -> Bool {
    end <= self[direction].sender.map.acknowledgement(self[direction].sender.unacknowledged)
  }

  /// The urgent pointer of a segment with the octets from `from` up to `upTo`, 0 for none.
  func urgentPointer(_ from: OutSequence, _ upTo: OutSequence, _ direction: Direction) -> UInt16 {
    guard let end = self[direction].urgentEnd, from < upTo, let image = self[direction].sender.map.image(end + -1)
    else {
      return 0
    }
    return image >= from ? UInt16(exactly: image + 1 - from) ?? 0 : 0
  }
}
