import DequeModule

/// Datagrams of UDP: each goes through the pipelines of its association by itself.
extension Engine {
  mutating func datagramArrived(
    _ udp: UDPHeader, _ headers: PacketHeaders, _ key: FlowKey, _ flow: Int?, _ passage: inout Passage
  ) -> Verdict {
    let source = Endpoint(address: headers.ip.source, port: udp.sourcePort)
    let destination = Endpoint(address: headers.ip.destination, port: udp.destinationPort)
    guard let slot = association(source, destination, key, flow) else { return .accept(mark: nil) }
    if passage.flowID == nil {
      passage.flow = flow
      passage.flowID = flow.map { configuration.flows[$0].id }
    }
    guard isSound(&passage, headers) else {
      environment.counters.badChecksum += 1
      return .accept(mark: nil)
    }
    associations.touch(slot, at: environment.now)
    if associations[slot].isOffloaded {
      environment.counters.offloadedPackets += 1
      return .accept(mark: passage.metadata.mark | environment.settings.marks.offloaded)
    }
    let direction = associations[slot].direction(from: source)
    if associations[slot][direction].flowKey == nil {
      associations[slot][direction].flowKey = key
      if let flow, associations[slot][direction.opposite].flow != configuration.flows[flow].id {
        flowCounters[slots[flow]].connections += 1
      }
      assembleAssociation(slot)
    }

    let start = passage.start + UInt32(headers.payloadOffset)
    let end = start + UInt32(headers.payloadLength)
    var datagram = environment.spareQueues.take()
    environment.pool.retain(passage.slab)
    datagram.append(.kept(passage.slab, start, end, source: InSequence(0)))
    // Where one datagram ends and the next begins in a super-packet is not told.
    let limit = OutgoingPacket.limit - headers.payloadOffset
    defer {
      datagram.removeAll(in: environment.pool)
      environment.spareQueues.giveBack(&datagram)
    }
    let (fate, wait) = associations[slot].datagramArrived(
      &datagram, nil, direction, mayEdit: !passage.metadata.isGSO, limit: limit, &environment)
    let packet = PacketInHand(slab: passage.slab, start: passage.start, headers: headers, isSound: true)
    if let wait {
      lend(&datagram, of: packet, passage, to: wait, slot, direction, limit: limit)
      return .drop
    }
    return datagramLeaves(&datagram, fate, packet, passage, slot, direction, limit: limit)
  }

  private mutating func lend(
    _ datagram: inout SegmentQueue, of packet: PacketInHand, _ passage: Passage, to wait: Pipeline.Wait, _ slot: Int,
    _ direction: Direction, limit: Int
  ) {
    let octets = datagram.count
    let isLent = environment.lend(
      &datagram, of: packet, passage, to: wait, identity: associations[slot].identity(direction),
      .datagram(associations[slot].key, limit: limit, rest: wait.rest))
    if isLent { associations[slot].lent(octets, to: wait) }
  }

  /// Lets a datagram go on that the modules of its association have seen.
  private mutating func datagramLeaves(
    _ datagram: inout SegmentQueue, _ fate: ModuleRequests.Fate?, _ packet: PacketInHand, _ passage: Passage,
    _ slot: Int, _ direction: Direction, limit: Int
  ) -> Verdict {
    let headers = packet.headers
    switch fate {
    case .drop: return .drop
    case .reset:
      let road = packetModules.road(of: passage)
      answer(packet, passage.metadata, through: road.backFromArrival(road.arrivals.count, packetModules.instances))
      return .drop
    case nil: break
    }
    var mark: UInt32?
    let key = passage.key ?? FlowKey(headers, passage.metadata)
    if associations[slot].isGivenUp, isAnswered(slot, direction, key),
      ![key, key.reversed()].contains(where: configuration.showsPackets)
    {
      associations[slot].offload(&environment)
      mark = passage.metadata.mark | environment.settings.marks.offloaded
    }
    let start = packet.start + UInt32(headers.payloadOffset)
    let end = start + UInt32(headers.payloadLength)
    guard !datagram.isWhole(packet.slab, start..<end), datagram.count <= limit else {
      associations[slot].left(headers.payloadLength, direction, isChanged: false)
      return .accept(mark: mark)
    }
    associations[slot].left(datagram.count, direction, isChanged: true)
    return load(datagram, headers, passage).marked(mark)
  }

  /// Has a datagram go on that was with a module of its association on a thread. Where that is forgotten, it leaves as it is.
  mutating func datagramReturned(
    _ lent: LentPacket, _ passage: Passage, _ key: ConnectionKey, limit: Int, _ rest: [Pipeline.Step],
    from exchange: PacketExchange
  ) -> Verdict {
    let packet = lent.packet
    var datagram = SegmentQueue()
    if let returned = lent.returned, returned.edits.count > 0 {
      for segment in returned.segments { datagram.append(returned: segment, returned.inserted, in: environment.pool) }
      lent.datagram.removeAll(in: environment.pool)
    } else {
      lent.datagram.move(all: &datagram)
    }
    defer { datagram.removeAll(in: environment.pool) }
    guard case .association(_, let id) = exchange.home, let slot = associations.find(key), associations[slot].id == id
    else { return load(datagram, packet.headers, passage) }
    let direction = associations[slot].direction(
      from: Endpoint(address: packet.headers.ip.source, port: packet.headers.ports?.source ?? 0))
    if let fate = associations[slot].take(lent, from: exchange, &environment) {
      return datagramLeaves(&datagram, fate, packet, passage, slot, direction, limit: limit)
    }
    let (fate, wait) = associations[slot].datagramArrived(
      &datagram, rest, direction, mayEdit: true, limit: limit, &environment)
    if let wait {
      lend(&datagram, of: packet, passage, to: wait, slot, direction, limit: limit)
      return .drop
    }
    return datagramLeaves(&datagram, fate, packet, passage, slot, direction, limit: limit)
  }

  /// Whether the peer direction of a datagram with `key` has been seen, or no module waits for it.
  private func isAnswered(_ slot: Int, _ direction: Direction, _ key: FlowKey) -> Bool {
    if associations[slot][direction.opposite].flowKey != nil { return true }
    let peer = configuration.classifier.lookupWithoutLink(key.reversed())
    return peer.map { configuration.flows[$0].streamStages.isEmpty } ?? true
  }

  /// The association of a datagram; made where there is none, and modules for it.
  private mutating func association(
    _ source: Endpoint, _ destination: Endpoint, _ key: FlowKey, _ flow: Int?
  ) -> Int? {
    if let slot = associations.find(ConnectionKey(source, destination)) { return slot }
    let peer = configuration.classifier.lookupWithoutLink(key.reversed())
    guard [flow, peer].contains(where: { $0.map { !configuration.flows[$0].streamStages.isEmpty } ?? false }) else {
      return nil
    }
    while associations.count >= environment.settings.associationLimit, let oldest = associations.leastRecent {
      forget(oldest)
    }
    environment.counters.associationsOpened += 1
    return associations.insert(
      Association(id: nextNumber(), client: source, server: destination, now: environment.now))
  }

  /// Gives an association the pipelines of its flows.
  private mutating func assembleAssociation(_ slot: Int) {
    guard !associations[slot].isOffloaded else { return }
    let toServer = associations[slot][.toServer].flowKey.flatMap(configuration.classifier.lookup)
    let toClient = associations[slot][.toClient].flowKey.flatMap(configuration.classifier.lookup)
    associations[slot].reconfigure(
      toServer: toServer.map { configuration.flows[$0] }, toClient: toClient.map { configuration.flows[$0] },
      tallies: tallies, &environment)
  }

  mutating func assembleAssociations() {
    for slot in associations.occupied { assembleAssociation(slot) }
  }

  private mutating func forget(_ slot: Int) {
    environment.counters.associationsClosed += 1
    associations[slot].end(&environment)
    associations.remove(slot)
  }

  /// When the next association may be forgotten.
  var associationDeadline: Instant? {
    associations.leastRecent.map { associations[$0].lastDatagram + environment.settings.associationTimeout }
  }

  /// Forgets the associations of which nothing has come for too long.
  mutating func expireAssociations() {
    while let due = associationDeadline, due <= environment.now, let oldest = associations.leastRecent {
      forget(oldest)
    }
  }

  /// The datagram that came, with another payload. One without a checksum (RFC 768) stays without.
  private mutating func load(
    _ payload: borrowing SegmentQueue, _ headers: PacketHeaders, _ passage: Passage
  ) -> Verdict {
    let pool = environment.pool
    let count = headers.payloadOffset
    let slab = pool.allocateReserved(atLeast: count)
    let place = unsafe UnsafeMutableRawBufferPointer(rebasing: pool.writable(slab)[..<count])
    unsafe place.copyMemory(from: pool.bytes(passage.slab, passage.start, passage.start + UInt32(count)))
    var span = unsafe place.bindMemory(to: UInt8.self).mutableSpan
    environment.output.begin()
    environment.output.add(slab, 0, UInt32(count), in: pool)
    pool.release(slab)
    for piece in payload.segments { environment.output.add(piece.slab, piece.start, piece.end, in: pool) }
    // That it fits the path was its source's promise, for what it has sent. Routers of IPv6 never cut.
    if !headers.ip.isIPv6, headers.ip.dontFragment, payload.count > headers.payloadLength {
      HeaderPatch.allowFragments(identification: environment.nextIdentification(), in: &span)
    }
    HeaderPatch.setTotalLength(count + payload.count, in: &span)
    let udp = count - 8
    HeaderPatch.setUDPLength(8 + payload.count, in: &span, udp: udp)
    if headers.ip.isIPv6 || span.uint16(at: udp + 6) != 0 {
      span.store(0 as UInt16, at: udp + 6)
      let pseudo = Checksum.pseudoHeader(
        source: headers.ip.source, destination: headers.ip.destination, protocolNumber: ProtocolNumber.udp,
        length: 8 + payload.count, isIPv6: headers.ip.isIPv6)
      let header = Checksum.sum(span.span.extracting(udp...), initial: pseudo)
      HeaderPatch.setUDPChecksum(Checksum.fold(environment.output.payloadSum(initial: header)), in: &span, udp: udp)
    }
    return .mangle(environment.output.end(in: pool), mark: nil)
  }
}

extension SegmentQueue {
  /// Whether these are the octets in `range` of `slab`, all of them and in their order.
  func isWhole(_ slab: SlabID, _ range: Range<UInt32>) -> Bool {
    var at = range.lowerBound
    for segment in segments where segment.count > 0 {
      guard segment.slab == slab, segment.start == at else { return false }
      at = segment.end
    }
    return at == range.upperBound
  }
}
