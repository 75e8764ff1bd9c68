/// Urgent data (RFC 9293 section 3.8.5): a mark in the stream that says how far it is urgent.
///
/// The mark goes with the octet in front of it, wherever that one goes. Where a module has removed that octet there is nothing
/// left to point at, and the mark is gone too.
extension Connection {
  mutating func noteUrgent(_ arrival: Arrival, _ direction: Direction) {
    guard arrival.tcp.flags.contains(.urg) else { return }
    let end = arrival.sequence + Int(arrival.tcp.urgentPointer)
    self[direction].urgentEnd = self[direction].urgentEnd.map { .later($0, end) } ?? end
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
