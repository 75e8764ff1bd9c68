/// TCP out: what leaves, and in which packet.
///
/// A packet that arrived is a vehicle. It takes the first octets that may leave; those that find no room in it, or come at
/// another time, are injected. So the verdict always comes first, and the injections behind it are in order.
extension Connection {
  /// A packet at hand, with what it is to say of the peer direction.
  struct Vehicle {
    let arrival: Arrival
    let acknowledgement: Acknowledgement
  }

  /// Sends what waits for window, as far as it is open.
  mutating func transmitPending(_ direction: Direction, _ environment: inout Environment) {
    let from = self[direction].sender.resumption
    let upTo = self[direction].sender.sendable
    guard from < upTo else { return }
    self[direction].sender.resumes()
    _ = transmit(from: from, upTo: upTo, direction, nil, &environment)
  }

  /// Answers a retransmission of the source from `from` up to `upTo` with what left in its place and is not yet
  /// acknowledged. Returns the verdict for the vehicle, or nil where there is none or nothing of that.
  @discardableResult
  mutating func resend(
    from: InSequence, upTo: InSequence, _ direction: Direction, _ vehicle: Vehicle?, _ environment: inout Environment
  ) -> Verdict? {
    let first = OutSequence.later(self[direction].sender.map.start(from), self[direction].sender.unacknowledged)
    let last = OutSequence.earlier(self[direction].sender.map.end(upTo), self[direction].sender.next)
    guard first < last else { return nil }
    environment.counters.retransmitted += 1
    doubtSuperPackets(direction, &environment)
    self[direction].sender.sentAgain(upTo: last)
    self[direction].postponeEarly(at: environment.now)
    return transmit(from: first, upTo: last, direction, vehicle, &environment)
  }

  /// Sends one octet beyond a closed window (RFC 9293 section 3.8.6.1), in the packet of a source that has sent of its own
  /// accord, if there is one: with what has been inserted in between its window is not ours, and its probe must not end here.
  /// Returns nil where nothing waits, or something is on its way already.
  @discardableResult
  mutating func probe(_ direction: Direction, _ vehicle: Vehicle?, _ environment: inout Environment) -> Verdict? {
    guard self[direction].sender.pending > 0, self[direction].sender.inFlight == 0 else { return nil }
    self[direction].sender.probes()
    return transmit(
      from: self[direction].sender.next, upTo: self[direction].sender.next + 1, direction, vehicle, &environment)
  }

  /// Sends the octets from `from` up to `upTo`, cut to fit. Returns the verdict for the vehicle, or nil where there is
  /// none, or nothing to send.
  mutating func transmit(
    from: OutSequence, upTo: OutSequence, _ direction: Direction, _ vehicle: Vehicle?,
    _ environment: inout Environment
  ) -> Verdict? {
    // A module may have cut the connection off in the same breath in which it let go of octets, and those are gone.
    guard from < upTo, !hasLeft else { return nil }
    let hasFinish = self[direction].sender.finish.map { $0 >= from && $0 < upTo } ?? false
    let dataEnd = hasFinish ? upTo + -1 : upTo
    var at = from
    var verdict: Verdict?
    var isDone = false
    if let vehicle {
      verdict = .drop
      if let room = room(in: vehicle.arrival, direction, for: dataEnd - at) {
        let stop = at + min(room, dataEnd - at)
        isDone = stop == dataEnd
        verdict = load(vehicle, at, stop, isLast: isDone, isFinish: hasFinish && isDone, direction, &environment)
        at = stop
      }
    }
    let segment = self[direction].sender.maximumSegment
    while !isDone {
      let isSuper = leavesWhole(at, dataEnd, direction, environment)
      let stop = at + min(isSuper ? Self.largestSegment / segment * segment : segment, dataEnd - at)
      isDone = stop == dataEnd
      var flags: TCPFlags = .ack
      if isDone { flags.insert(.psh) }
      if isDone, hasFinish { flags.insert(.fin) }
      if isSuper {
        self[direction].superPackets.leave(at, stop, acknowledged: self[direction].sender.unacknowledged)
        environment.counters.superPackets += 1
      }
      inject(direction, at, upTo: stop, flags, sack: SACKBlocks(), segment: isSuper ? segment : nil, &environment)
      at = stop
    }
    self[direction].sender.sent(upTo: upTo, at: environment.now)
    return verdict
  }

  /// Whether more than one segment of the octets from `from` up to `upTo` leaves in a packet that the kernel cuts, FIN and PSH
  /// then being on its last segment.
  ///
  /// Not in the name of this machine itself, from which the kernel takes nothing in; not where modules are to see each segment;
  /// nor with an urgent pointer, which would count from the start of each.
  private func leavesWhole(
    _ from: OutSequence, _ upTo: OutSequence, _ direction: Direction, _ environment: borrowing Environment
  ) -> Bool {
    guard upTo - from > self[direction].sender.maximumSegment, let likeness = self[direction].likeness else {
      return false
    }
    let versions = environment.settings.superPackets
    return (likeness.isIPv6 ? versions.ipv6 : versions.ipv4) && !self[direction].isLocal && !environment.showsInjections
      && self[direction].departures.isEmpty && !self[direction].superPackets.areLost
      && urgentPointer(from, upTo, direction) == 0
  }

  /// Octets of payload that have room in a packet behind the longest headers written here.
  static var largestSegment: Int { OutgoingPacket.limit - HeaderWriter.longestIP - HeaderWriter.longestTCP }

  /// Octets of payload that may leave in the packet that arrived, nil where it cannot serve for `count` octets.
  private func room(in arrival: Arrival, _ direction: Direction, for count: Int) -> Int? {
    let options = arrival.headerCount - (arrival.ip.isIPv6 ? 60 : 40) - (usesTimestamps ? 12 : 0)
    let segment = self[direction].sender.maximumSegment - options
    let room = OutgoingPacket.limit - arrival.headerCount
    guard arrival.metadata.isGSO else { return min(max(arrival.payloadCount, segment), room) }
    // The kernel silently drops a super-packet that is left with a single segment, for it is still to be cut. The segments
    // of its source may be as large as the destination has offered, whatever the path has turned out to take.
    let offered = Int(self[direction.opposite].offer.maximumSegmentSize ?? 0)
    return min(count, room) > max(offered, segment, self[direction].sender.maximumSegment) ? room : nil
  }

  // MARK: Vehicles

  /// Whether a packet can leave changed with all of its payload, should it have to.
  func fits(_ arrival: Arrival) -> Bool { arrival.headerCount + arrival.payloadCount <= OutgoingPacket.limit }

  /// Lets a packet leave with its own payload, its header mapped.
  mutating func passWhole(
    _ arrival: Arrival, _ direction: Direction, _ sequence: OutSequence, _ acknowledgement: Acknowledgement,
    _ environment: inout Environment
  ) -> Verdict {
    guard sequence.raw != arrival.tcp.sequence || acknowledgement.isChanged else {
      return .accept(mark: mark(arrival.metadata.mark, environment.settings.marks))
    }
    let payload = arrival.payloadStart..<arrival.payloadStart + UInt32(arrival.payloadCount)
    return mangle(
      arrival, sequence, acknowledgement, arrival.tcp.flags, count: arrival.payloadCount,
      urgent: arrival.tcp.urgentPointer, &environment
    ) { output, pool in output.add(arrival.slab, payload.lowerBound, payload.upperBound, in: pool) }
  }

  /// Lets a packet leave without payload: an acknowledgement, or a reset.
  mutating func sendBare(
    _ arrival: Arrival, _ direction: Direction, _ sequence: OutSequence, _ acknowledgement: Acknowledgement,
    isFresh: Bool, _ environment: inout Environment
  ) -> Verdict {
    var flags = arrival.tcp.flags
    if arrival.payloadCount > 0 || arrival.isFinish { flags.subtract([.fin, .psh, .urg]) }
    guard !arrival.metadata.isGSO, !isFresh else {
      inject(
        direction, sequence, upTo: sequence, flags, acknowledgement: acknowledgement, sack: acknowledgement.sack,
        &environment)
      return .drop
    }
    return mangle(arrival, sequence, acknowledgement, flags, count: 0, urgent: 0, &environment) { _, _ in }
  }

  /// Lets a packet leave with the octets from `from` up to `upTo`.
  private mutating func load(
    _ vehicle: Vehicle, _ from: OutSequence, _ upTo: OutSequence, isLast: Bool, isFinish: Bool, _ direction: Direction,
    _ environment: inout Environment
  ) -> Verdict {
    var flags = vehicle.arrival.tcp.flags.subtracting([.fin, .urg])
    if !isLast { flags.remove(.psh) }
    if isFinish { flags.insert(.fin) }
    let urgent = urgentPointer(from, upTo, direction)
    if urgent > 0 { flags.insert(.urg) }
    return mangle(
      vehicle.arrival, from, vehicle.acknowledgement, flags, count: upTo - from, urgent: urgent, &environment
    ) { output, pool in
      self[direction].sender.eachPiece(from: from, upTo: upTo) { output.add($0, $1, $2, in: pool) }
    }
  }

  /// Makes a mangled packet of the header that arrived, changed where it must be, and what `load` adds.
  ///
  /// - Parameter patch: makes further changes to the header; its second parameter is where the TCP header starts.
  func mangle(
    _ arrival: Arrival, _ sequence: OutSequence, _ acknowledgement: Acknowledgement, _ flags: TCPFlags, count: Int,
    urgent: UInt16, _ environment: inout Environment, patch: (inout MutableSpan<UInt8>, Int) -> Void = { _, _ in },
    load: (inout Output, SlabPool) -> Void
  ) -> Verdict {
    let pool = environment.pool
    let slab = pool.allocateReserved(atLeast: arrival.headerCount)
    let header = unsafe UnsafeMutableRawBufferPointer(rebasing: pool.writable(slab)[..<arrival.headerCount])
    unsafe header.copyMemory(from: pool.bytes(arrival.slab, arrival.start, arrival.payloadStart))
    var span = unsafe header.bindMemory(to: UInt8.self).mutableSpan
    let tcp = arrival.headerCount - arrival.tcp.headerLength
    HeaderPatch.setTotalLength(arrival.headerCount + count, in: &span)
    HeaderPatch.setTCPSequence(sequence.raw, in: &span, tcp: tcp)
    HeaderPatch.setTCPAcknowledgement(acknowledgement.number, in: &span, tcp: tcp)
    HeaderPatch.setTCPWindow(acknowledgement.window, in: &span, tcp: tcp)
    HeaderPatch.setTCPFlags(flags, in: &span, tcp: tcp)
    HeaderPatch.setTCPUrgentPointer(urgent, in: &span, tcp: tcp)
    if let option = arrival.tcp.options.sackOffset {
      HeaderPatch.setSACK(acknowledgement.sack, in: &span, tcp: tcp, option: option)
    }
    patch(&span, tcp)
    environment.output.begin()
    environment.output.add(slab, 0, UInt32(arrival.headerCount), in: pool)
    pool.release(slab)
    load(&environment.output, pool)
    let length = arrival.tcp.headerLength + count
    if arrival.metadata.isSummedLater {
      setPseudoSum(&span, tcp, arrival.ip, count: length)
    } else {
      setChecksum(&span, tcp, arrival.ip, count: length, environment.output)
    }
    return .mangle(
      environment.output.end(in: pool), mark: mark(arrival.metadata.mark, environment.settings.marks))
  }

  /// Sets the TCP checksum of the header in `span`, the payload being the pieces of the packet begun in `output`.
  private func setChecksum(
    _ span: inout MutableSpan<UInt8>, _ tcp: Int, _ ip: IPHeader, count: Int, _ output: borrowing Output
  ) {
    HeaderPatch.setTCPChecksum(0, in: &span, tcp: tcp)
    let header = Checksum.sum(span.span.extracting(tcp...), initial: pseudoSum(ip, count: count))
    HeaderPatch.setTCPChecksum(Checksum.fold(output.payloadSum(initial: header)), in: &span, tcp: tcp)
  }

  /// Sets what stands in the place of the TCP checksum of a packet whose checksums are still to be computed: the sum of the
  /// pseudo-header, not complemented.
  private func setPseudoSum(_ span: inout MutableSpan<UInt8>, _ tcp: Int, _ ip: IPHeader, count: Int) {
    HeaderPatch.setTCPChecksum(~Checksum.fold(pseudoSum(ip, count: count)), in: &span, tcp: tcp)
  }

  /// The sum of the pseudo-header of a segment with `count` octets of TCP header and payload.
  private func pseudoSum(_ ip: IPHeader, count: Int) -> UInt64 {
    Checksum.pseudoHeader(
      source: ip.source, destination: ip.destination, protocolNumber: ProtocolNumber.tcp, length: count,
      isIPv6: ip.isIPv6)
  }

  // MARK: Injections

  /// Acknowledges to the source of `direction`, in the name of its destination, all that the destination has and what was
  /// removed behind it.
  ///
  /// - Parameter blocks: SACK blocks for what waits; nil for those of what came last.
  mutating func acknowledgeToSource(
    _ direction: Direction, blocks: SACKBlocks? = nil, _ environment: inout Environment
  ) {
    environment.counters.acknowledged += 1
    let peer = direction.opposite
    let next = self[peer].sender.next
    var sack = blocks ?? SACKBlocks()
    if blocks == nil, usesSACK, tellsEarly(direction, at: environment.now) { sack = earlyBlocks(direction) }
    inject(peer, next, upTo: next, .ack, sack: sack, &environment)
  }

  /// Injects a reset for the destination of `direction`, with the exact number that it expects (RFC 5961 section 3).
  mutating func injectReset(_ direction: Direction, _ environment: inout Environment) {
    if isObserved {
      injectObservedReset(direction, &environment)
    } else {
      injectReset(direction, self[direction].sender.next, nil, &environment)
    }
  }

  mutating func injectReset(
    _ direction: Direction, _ number: OutSequence, _ acknowledgement: Acknowledgement?,
    _ environment: inout Environment
  ) {
    inject(
      direction, number, upTo: number, [.rst, .ack], acknowledgement: acknowledgement, sack: SACKBlocks(), &environment)
  }

  /// Injects a segment of `direction` with the octets from `from` up to `upTo`.
  ///
  /// - Parameters:
  ///   - acknowledgement: what it says of the peer direction; nil for the latest.
  ///   - segment: octets of payload of the segments that the kernel is to cut it into; nil where it is one.
  private mutating func inject(
    _ direction: Direction, _ from: OutSequence, upTo: OutSequence, _ flags: TCPFlags,
    acknowledgement: Acknowledgement? = nil, sack: SACKBlocks, segment: Int? = nil, _ environment: inout Environment
  ) {
    let pool = environment.pool
    let peer = direction.opposite
    let (source, destination) = direction == .toServer ? (client, server) : (server, client)
    let own = self[direction].likeness
    guard let likeness = own ?? self[peer].likeness?.opposite(from: source.address, to: destination.address)
    else { return }
    let slab = pool.allocateReserved(atLeast: HeaderWriter.longestIP + HeaderWriter.longestTCP)
    var number = acknowledgement?.number ?? 0
    var window = acknowledgement?.window ?? 0
    if acknowledgement == nil {
      let latest = self[peer].sender.current()
      number = latest.acknowledgement.raw
      window = UInt16(clamping: latest.window >> Int(self[peer].sender.windowScale))
    }
    var timestamps: (value: UInt32, echo: UInt32)?
    if usesTimestamps, let value = likeness.timestamp {
      timestamps = (value, self[peer].likeness?.timestamp ?? 0)
    }
    let urgent = urgentPointer(from, upTo, direction)
    let flags = urgent > 0 ? flags.union(.urg) : flags
    var span = unsafe pool.writable(slab).bindMemory(to: UInt8.self).mutableSpan
    var ip = likeness.header(from: source.address, to: destination.address)
    // What is cut is forwarded once more.
    if segment != nil { ip.hopLimit = max(ip.hopLimit, ip.hopLimit &+ 1) }
    let tcp = ip.headerLength
    let tcpCount = HeaderWriter.writeTCP(
      sourcePort: source.port, destinationPort: destination.port, sequence: from.raw,
      acknowledgement: number, flags: flags, window: window, urgentPointer: urgent, timestamps: timestamps, sack: sack,
      into: &span, at: tcp)
    let count = upTo - from
    let segments = segment.map { (count + $0 - 1) / $0 } ?? 1
    HeaderWriter.writeIP(
      from: ip, payloadLength: tcpCount + count, identification: environment.nextIdentification(count: segments),
      into: &span)
    environment.output.begin()
    environment.output.add(slab, 0, UInt32(tcp + tcpCount), in: pool)
    pool.release(slab)
    self[direction].sender.eachPiece(from: from, upTo: upTo) { environment.output.add($0, $1, $2, in: pool) }
    var header = unsafe UnsafeMutableRawBufferPointer(rebasing: pool.writable(slab)[..<(tcp + tcpCount)])
      .bindMemory(to: UInt8.self).mutableSpan
    let segmentation = segment.map { Segmentation(size: $0, transportOffset: tcp, payloadOffset: tcp + tcpCount) }
    if segmentation == nil {
      setChecksum(&header, tcp, ip, count: tcpCount + count, environment.output)
    } else {
      setPseudoSum(&header, tcp, ip, count: tcpCount + count)
    }
    let marks = environment.settings.marks
    let bits = marks.injected | (isEdited ? marks.edited : 0) | (self[direction].isUntracked ? marks.untracked : 0)
    environment.output.inject(mark: likeness.mark | bits, isIPv6: ip.isIPv6, segmentation: segmentation, in: pool)
    environment.counters.injected += 1
  }
}
