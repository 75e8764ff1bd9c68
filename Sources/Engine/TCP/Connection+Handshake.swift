/// The three-way handshake (RFC 9293 section 3.5), as it passes.
extension Connection {
  /// Takes the client's SYN, which made this connection or is sent again.
  mutating func synArrived(_ arrival: Arrival, at now: Instant) {
    let options = arrival.tcp.options
    if arrival.payloadCount > 0 || options.hasFastOpen || options.hasMultipath || options.hasAuthentication {
      // Data in the SYN, subflows with numbers of their own, segments under a signature: none may be edited.
      enter(.midstream, at: now)
      return
    }
    self[.toServer].begin(at: arrival.sequence + 1)
    self[.toServer].offer = Half.Offer(arrival.tcp)
    self[.toServer].learn(arrival)
  }

  /// Whether a segment of the server's answers the client's SYN. Others are of an earlier connection between the same ports,
  /// or forged: the client passes over them (RFC 9293 section 3.10.7.3), and so do we.
  func isAnswer(_ arrival: Arrival) -> Bool {
    arrival.tcp.flags.contains(.ack) && arrival.tcp.acknowledgement == self[.toServer].receiver.next.raw
  }

  /// Takes the server's SYN-ACK for the client's SYN.
  ///
  /// - Returns: whether both directions are known now.
  mutating func synAcknowledged(_ arrival: Arrival, at now: Instant) -> Bool {
    let options = arrival.tcp.options
    guard arrival.payloadCount == 0, !options.hasMultipath, !options.hasAuthentication else {
      enter(.midstream, at: now)
      return false
    }
    self[.toClient].begin(at: arrival.sequence + 1)
    self[.toClient].offer = Half.Offer(arrival.tcp)
    self[.toClient].learn(arrival)
    let client = self[.toServer].offer
    // Window scaling, timestamps and SACK hold where both offered them (RFC 7323, RFC 2018).
    if let ofClient = client.windowScale, let ofServer = options.windowScale {
      self[.toServer].sender.windowScale = ofServer
      self[.toClient].sender.windowScale = ofClient
    }
    // The smaller offer of the two: either end's may stand for the narrower side of the path.
    let fallback: UInt16 = arrival.ip.isIPv6 ? 1_220 : 536
    let segment = Int(min(options.maximumSegmentSize ?? fallback, client.maximumSegmentSize ?? fallback))
    let room = usesTimestamps ? 12 : 0
    self[.toServer].sender.maximumSegment = max(64, segment - room)
    self[.toClient].sender.maximumSegment = max(64, segment - room)
    self[.toServer].sender.openWindow(Int(arrival.tcp.window))
    self[.toClient].sender.openWindow(Int(client.window))
    enter(.synReceived, at: now)
    return true
  }

  /// Whether both ends agreed on timestamps.
  var usesTimestamps: Bool { self[.toServer].offer.hasTimestamps && self[.toClient].offer.hasTimestamps }

  /// Whether both ends agreed on selective acknowledgements.
  var usesSACK: Bool { self[.toServer].offer.permitsSACK && self[.toClient].offer.permitsSACK }
}
