/// ICMP errors about segments of the connection, and the path MTU that some of them tell (RFC 1191, RFC 8201).
///
/// What an error quotes has the destination's numbers. The source gets it with its own, finds the segment plausible, and sends
/// smaller ones; how large a segment it sends is its matter, also where it tries a larger one again (RFC 4821). What is cut
/// here keeps to the path from then on.
extension Connection {
  /// Takes an error about a segment of `direction`, and returns the number that the source knows the segment by.
  ///
  /// - Parameter isMadeHere: whether this machine's own kernel made it, which may have refused the segment before it came by.
  mutating func errorArrived(
    _ error: ICMPError, _ direction: Direction, isMadeHere: Bool, _ environment: inout Environment
  ) -> UInt32 {
    environment.counters.icmpErrors += 1
    let number = OutSequence(error.segment.sequence)
    // Of other numbers nothing is under way, so whoever forges an error has to guess (RFC 5927 section 4.1).
    if number >= self[direction].sender.unacknowledged, number <= self[direction].sender.next {
      if self[direction].superPackets.contain(number) { self[direction].superPackets.answered() }
      if let mtu = error.mtu, narrow(to: mtu, error.segment, direction, &environment) {
        resendTooLong(error.segment, direction, isSourceTold: true, &environment)
      }
      return InSequence.later(self[direction].sender.told, self[direction].sender.map.acknowledgement(number)).raw
    }
    let unmapped = InSequence(error.segment.sequence)
    if isMadeHere, unmapped >= self[direction].sender.told, unmapped <= self[direction].sender.offeredEdge {
      if let mtu = error.mtu { _ = narrow(to: mtu, error.segment, direction, &environment) }
      return unmapped.raw
    }
    // The source must find it as implausible as it is.
    return number < self[direction].sender.unacknowledged
      ? (self[direction].sender.told + (number - self[direction].sender.unacknowledged)).raw
      : (self[direction].receiver.next + (number - self[direction].sender.next)).raw
  }

  /// Takes note that a segment which was made here for `direction` did not leave, for it is longer than `mtu`.
  mutating func refused(
    _ segment: QuotedSegment, mtu: Int, _ direction: Direction, _ environment: inout Environment
  ) {
    let number = OutSequence(segment.sequence)
    guard number >= self[direction].sender.unacknowledged, number <= self[direction].sender.next,
      narrow(to: mtu, segment, direction, &environment)
    else { return }
    resendTooLong(segment, direction, isSourceTold: false, &environment)
  }

  /// Makes what is cut here fit into packets of `mtu` octets. Returns whether `segment` is too long for them.
  private mutating func narrow(
    to mtu: Int, _ segment: QuotedSegment, _ direction: Direction, _ environment: inout Environment
  ) -> Bool {
    // A link of IPv6 takes 1,280 octets, and who says less is not believed (RFC 8201 section 4). Of IPv4 it is the least
    // that Linux takes for true, against those who would have us send nothing but headers.
    let least = segment.ip.isIPv6 ? 1_280 : 552
    guard !segment.ip.isIPv6 || mtu >= least else { return false }
    let mtu = max(mtu, least)
    guard segment.ip.totalLength > mtu else { return false }
    let largest = mtu - headerCount(isIPv6: segment.ip.isIPv6)
    if largest < self[direction].sender.maximumSegment {
      self[direction].sender.maximumSegment = largest
      environment.counters.pathMTU += 1
    }
    return true
  }

  /// Sends again what `segment` carried, in pieces that fit. Where the source is told, it does so itself with what was too long
  /// already when it came from there; but it does not know what has grown or was put together here, or has been acknowledged.
  private mutating func resendTooLong(
    _ segment: QuotedSegment, _ direction: Direction, isSourceTold: Bool, _ environment: inout Environment
  ) {
    let from = OutSequence(segment.sequence)
    let headers = headerCount(isIPv6: segment.ip.isIPv6) - (segment.ip.isIPv6 ? 40 : 20)
    let count = max(0, segment.ip.totalLength - segment.ip.headerLength - headers)
    let dataEnd = OutSequence.earlier(
      from + count, .earlier(self[direction].sender.finish ?? self[direction].sender.next, self[direction].sender.next))
    let sourceCount = self[direction].sender.map.block(from, dataEnd).map { $0.right - $0.left } ?? 0
    guard from < dataEnd,
      !isSourceTold || sourceCount <= self[direction].sender.maximumSegment
        || from < self[direction].sender.map.start(self[direction].sender.told)
        || self[direction].superPackets.contain(from)
    else { return }
    // Its FIN went with it, or directly behind it.
    resendHere(
      (from, dataEnd == self[direction].sender.finish ? self[direction].sender.next : dataEnd), direction, &environment)
  }

  /// Octets of IP and TCP header of a segment that is made here.
  private func headerCount(isIPv6: Bool) -> Int { (isIPv6 ? 60 : 40) + (usesTimestamps ? 12 : 0) }
}
