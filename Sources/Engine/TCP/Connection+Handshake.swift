/// The three-way handshake (RFC 9293 section 3.5), as it passes.
extension Connection {
  /// Octets that the segments of a connection leave free where it may come to insertions, so that those rarely need a
  /// segment of their own.
  private static var roomToGrow: UInt16 { 64 }
  /// Maximum segment sizes from which that much is taken off.
  private static var smallestWithRoom: UInt16 { 600 }

  /// Takes the client's SYN, which made this connection or is sent again, and says what becomes of it.
  mutating func synArrived(_ arrival: Arrival, _ environment: inout Environment) -> Verdict {
    let isAgain = isRepeated(arrival, .toServer)
    let earlier = isAgain ? self[.toServer].offer : Half.Offer()
    self[.toServer].begin(at: arrival.sequence + 1)
    if !isAgain { self[.toServer].sender.synSent(at: environment.now) }
    self[.toServer].offer = Half.Offer(arrival.tcp).adding(earlier)
    self[.toServer].offer.restriction =
      arrival.tcp.options.hasAuthentication ? .signed : keepsMultipath(arrival) ? .multipath : nil
    self[.toServer].learn(arrival)
    if arrival.payloadCount > 0, !isPrepared { restrict(.synData, &environment) }
    return synPassed(arrival, .toServer, &environment)
  }

  /// What it was before anything but the client's SYN had come, not restricted.
  func unanswered() -> Connection {
    var connection = Connection(
      id: id, client: client, server: server, isSeenOpening: true, isPrepared: isPrepared, now: opened)
    connection.lastPacket = lastPacket
    connection.instances = instances
    for direction in Direction.allCases { connection[direction] = Half(openingOf: self[direction]) }
    return connection
  }

  /// Whether a segment of the server's answers the client's SYN. Others are of an earlier connection between the same ports,
  /// or forged: the client passes over them (RFC 9293 section 3.10.7.3), and so do we.
  func isAnswer(_ arrival: Arrival) -> Bool {
    arrival.tcp.flags.contains(.ack) && arrival.tcp.acknowledgement == self[.toServer].receiver.next.raw
  }

  /// Whether a segment of the server's answers the client's SYN with another number than the answer before, as happens where
  /// several servers share an address, or one keeps no state. The latest counts, as long as nothing has followed.
  func isOtherAnswer(_ arrival: Arrival, _ direction: Direction) -> Bool {
    phase == .synReceived && direction == .toClient && arrival.isSYN && isAnswer(arrival)
      && !isRepeated(arrival, .toClient) && self[.toClient].receiver.next == self[.toClient].start
      && self[.toClient].receiver.outOfOrder.isEmpty
  }

  /// Whether a segment has to wait until the client has said which of several answers it has taken.
  func isUndecided(_ arrival: Arrival, _ direction: Direction) -> Bool {
    guard phase == .synReceived, isDisputed, !arrival.tcp.flags.contains(.rst) else { return false }
    let acknowledges = arrival.tcp.flags.contains(.ack) && arrival.tcp.acknowledgement == self[.toClient].start.raw
    return direction == .toClient || !acknowledges
  }

  /// Whether a SYN-ACK answers a SYN that came with data, and takes some of that (RFC 7413).
  func takesData(_ arrival: Arrival) -> Bool {
    let count = InSequence(arrival.tcp.acknowledgement) - self[.toServer].start
    return restriction == .synData && (1...Int(UInt16.max)).contains(count)
  }

  /// Takes the server's SYN-ACK for the client's SYN, and says what becomes of it.
  mutating func synAcknowledged(_ arrival: Arrival, _ environment: inout Environment) -> Verdict {
    let options = arrival.tcp.options
    isDisputed = phase == .synReceived
    self[.toServer].sender.synAcknowledged(at: environment.now)
    self[.toClient].begin(at: arrival.sequence + 1)
    // Of several answers nobody knows which one is acknowledged.
    if !isDisputed { self[.toClient].sender.synSent(at: environment.now) }
    self[.toClient].offer = Half.Offer(arrival.tcp)
    self[.toClient].learn(arrival)
    let client = self[.toServer].offer
    // Both have to say it: what one end says alone may be told to us and not to the other.
    switch client.restriction {
    case .signed where options.hasAuthentication: restrict(.signed, &environment)
    case .multipath where options.multipath != nil: restrict(.multipath, &environment)
    default: if arrival.payloadCount > 0, !isPrepared { restrict(.synData, &environment) }
    }
    // Window scaling, timestamps and SACK hold where both offered them (RFC 7323, RFC 2018).
    if let ofClient = client.windowScale, let ofServer = options.windowScale {
      self[.toServer].sender.windowScale = ofServer
      self[.toClient].sender.windowScale = ofClient
    }
    // The smaller offer of the two: either end's may stand for the narrower side of the path.
    let fallback: UInt16 = arrival.ip.isIPv6 ? 1_220 : 536
    let offered = Int(min(options.maximumSegmentSize ?? fallback, client.maximumSegmentSize ?? fallback))
    let segment = min(max(64, offered - (usesTimestamps ? 12 : 0)), Self.largestSegment)
    self[.toServer].sender.maximumSegment = segment
    self[.toClient].sender.maximumSegment = segment
    self[.toServer].sender.openWindow(Int(arrival.tcp.window))
    self[.toClient].sender.openWindow(Int(client.window))
    let verdict = synPassed(arrival, .toClient, &environment)
    if restriction == nil { enter(.synReceived, &environment) }
    return verdict
  }

  /// Whether a SYN is one that began this connection, sent again. What came before any SYN need not have been of the connection
  /// that the SYN begins.
  func isRepeated(_ arrival: Arrival, _ direction: Direction) -> Bool {
    arrival.payloadSequence == self[direction].start && restriction != .midstream
  }

  /// Lets a SYN pass. Where it may come to editing, and it is not signed, without what cannot be edited: MPTCP, whose octets have numbers of their
  /// own, and data, which would leave before the other end has said what it takes. The ends do without (RFC 8684 section
  /// 3.7, RFC 7413 section 4.2), and the client sends the data again. No host sends a super-packet with SYN; without its data the
  /// kernel would drop it without a word.
  mutating func synPassed(
    _ arrival: Arrival, _ direction: Direction, _ environment: inout Environment
  ) -> Verdict {
    let options = arrival.tcp.options
    let isJoining = direction == .toServer && keepsMultipath(arrival)
    guard isPrepared, restriction == nil, !options.hasAuthentication, !isJoining else { return .accept(mark: nil) }
    let offered = options.maximumSegmentSize ?? 0
    let isClamped = offered >= Self.smallestWithRoom
    guard isClamped || arrival.payloadCount > 0 || options.hasFastOpen || options.multipath != nil else {
      return .accept(mark: nil)
    }
    guard !arrival.metadata.isGSO else { return .drop }
    let tcp = arrival.tcp
    let same = Acknowledgement(
      number: tcp.acknowledgement, window: tcp.window, sack: tcp.options.sack, isNews: true, isChanged: false,
      isStale: false)
    return mangle(
      arrival, OutSequence(tcp.sequence), same, tcp.flags, count: 0, urgent: tcp.urgentPointer, &environment
    ) { header, tcp in
      if isClamped {
        HeaderPatch.setMaximumSegmentSize(offered - Self.roomToGrow, in: &header, tcp: tcp)
      }
      HeaderPatch.removeOptions(in: &header, tcp: tcp) { kind, rest in
        switch kind {
        case TCPOptionKind.multipath, TCPOptionKind.fastOpen: true
        case TCPOptionKind.experiment: rest.count >= 2 && rest.uint16(at: 0) == TCPOptionKind.fastOpenExperiment
        default: false
        }
      }
    } load: { _, _ in
    }
  }

  /// Whether a SYN of the client's keeps its MPTCP option: where nothing may edit, and where it joins another path, for which
  /// it is too late.
  private func keepsMultipath(_ syn: Arrival) -> Bool {
    syn.tcp.options.multipath.map { !isPrepared || $0 != Self.multipathCapable } ?? false
  }

  /// Subtype MP_CAPABLE of the MPTCP option (RFC 8684 section 3.1).
  private static var multipathCapable: UInt8 { 0 }

  /// Whether both ends agreed on timestamps.
  var usesTimestamps: Bool { self[.toServer].offer.hasTimestamps && self[.toClient].offer.hasTimestamps }

  /// Whether both ends agreed on selective acknowledgements.
  var usesSACK: Bool { self[.toServer].offer.permitsSACK && self[.toClient].offer.permitsSACK }
}
