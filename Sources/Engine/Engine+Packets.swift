/// Modules that work on packets: on the way in before TCP, on the way out behind it.
extension Engine {
  // MARK: In

  /// Shows a packet to the modules of the layer `ip` on its way in. Returns false where it goes no further.
  mutating func arrive(_ passage: inout Passage, _ headers: inout PacketHeaders) -> Bool {
    let key = FlowKey(headers, passage.metadata)
    passage.key = key
    passage.flow = configuration.classifier.lookup(key)
    let road = packetModules.road(passage.flow)
    guard !road.arrivals.isEmpty else { return true }
    var packet = packetInHand(&passage, headers)
    defer {
      headers = packet.headers
      passage.isChanged = packet.isChanged
      // It may be mended.
      if passage.isSound == false { passage.isSound = packet.isSound }
    }
    guard let (index, fate) = show(&packet, to: road.arrivals) else { return true }
    if fate == .reset {
      answer(packet, passage.metadata, through: road.backFromArrival(index, packetModules.instances))
    }
    return false
  }

  private func packetInHand(_ passage: inout Passage, _ headers: PacketHeaders) -> PacketInHand {
    let bytes = unsafe bytes(of: passage)
    return PacketInHand(
      slab: passage.slab, start: passage.start, headers: headers,
      isSound: isSound(&passage, headers)
        && Checksum.verifyHeader(packet: unsafe bytes.bindMemory(to: UInt8.self).span, headers: headers))
  }

  /// Shows a packet to modules one after the other. Returns which of them ended its way, and how; nil where none did.
  private mutating func show(
    _ packet: inout PacketInHand, to steps: [PacketModules.Step]
  ) -> (index: Int, fate: ModuleRequests.Fate)? {
    for (index, step) in steps.enumerated() {
      if !packetModules.instances[step.instance].isOver {
        let fate = packetModules.instances[step.instance].see(
          &packet, isPeer: step.isPeer, identity: ConnectionIdentity(of: packet.headers), &environment)
        if case .failed(let reason) = packetModules.instances[step.instance].state {
          packetModules.instances[step.instance].report(reason, connection: 0, &environment)
        }
        if let fate { return (index, fate) }
      }
      // A failed one lets nothing of its flow pass, where its flow says so.
      guard packetModules.instances[step.instance].isOver, !step.isPeer else { continue }
      switch packetModules.instances[step.instance].onFail {
      case .pass: continue
      case .drop: return (index, .drop)
      case .reset: return (index, .reset)
      }
    }
    return nil
  }

  /// Shows a segment to the modules of the layer `tcp` on its way in. Returns the segment as it is then; nil where it goes no
  /// further.
  mutating func arrive(_ arrival: Arrival, _ slot: UInt32, _ direction: Direction, _ passage: inout Passage) -> Arrival?
  {
    guard !connections[slot][direction].arrivals.isEmpty else { return arrival }
    var packet = packetInHand(&passage, arrival.headers)
    let fate = connections[slot].see(&packet, direction, .arrival, &environment)
    passage.isChanged = passage.isChanged || packet.isChanged
    guard fate == nil, case .tcp(let tcp) = packet.headers.transport else {
      if fate == .reset {
        let road = packetModules.road(passage.flow)
        answer(
          packet, passage.metadata, through: road.backFromArrival(road.arrivals.count, packetModules.instances))
      }
      return nil
    }
    return Arrival(
      ip: packet.headers.ip, tcp: tcp, slab: arrival.slab, start: arrival.start,
      payloadStart: arrival.start + UInt32(packet.headers.payloadOffset), payloadCount: packet.headers.payloadLength,
      metadata: arrival.metadata)
  }

  // MARK: Out

  /// Shows what is about to leave for a packet that arrived, and what is injected beside it, to the modules on the way out.
  mutating func depart(_ verdict: Verdict, _ passage: Passage) -> Verdict {
    var verdict = verdict
    if passage.isChanged, case .accept(let mark) = verdict {
      // What came in is no more what goes out.
      verdict = whole(passage, mark: mark)
    }
    if packetModules.hasDepartures { verdict = throughDepartures(verdict, passage) }
    departInjections()
    return verdict
  }

  private mutating func whole(_ passage: Passage, mark: UInt32?) -> Verdict {
    guard case .packet(let headers) = PacketHeaders.parse(unsafe bytes(of: passage).bindMemory(to: UInt8.self).span)
    else { return .drop }
    return mangled(
      PacketInHand(slab: passage.slab, start: passage.start, headers: headers, isSound: true), passage, mark: mark)
  }

  /// A changed packet in place of the one that came; one that no verdict can carry ends here, and is counted.
  private mutating func mangled(_ packet: PacketInHand, _ passage: Passage, mark: UInt32?) -> Verdict {
    if passage.metadata.isGSO, case .udp = packet.headers.transport {
      // The kernel cuts a super-packet of UDP only where the card is still to compute its checksum, and drops a mangled one
      // without a word.
      environment.counters.superDatagrams += 1
      return .drop
    }
    guard packet.headers.ip.totalLength <= OutgoingPacket.limit else {
      environment.counters.overLimit += 1
      return .drop
    }
    environment.output.begin()
    environment.output.add(packet.slab, packet.start, packet.end, in: environment.pool)
    return .mangle(environment.output.end(in: environment.pool), mark: mark)
  }

  private mutating func throughDepartures(_ verdict: Verdict, _ passage: Passage) -> Verdict {
    let road = packetModules.road(passage.flow)
    let hasOwn = passage.connection.map { hasDepartures($0.place.slot, $0.direction) } ?? false
    guard !road.departures.isEmpty || hasOwn else { return verdict }
    let slab: SlabID
    var start = passage.start
    var octets = passage.octets
    let mark: UInt32?
    var passage = passage
    switch verdict {
    case .drop: return .drop
    case .accept(let current):
      mark = current
      let mayEdit =
        road.mayEditDepartures(packetModules.instances)
        || (passage.connection.map { connections[$0.place.slot].mayEditDepartures($0.direction) } ?? false)
      if mayEdit, environment.pool.isShared(passage.slab) {
        // What is kept of it must stay as it is.
        guard let copy = unsafe environment.pool.copy(whole: bytes(of: passage)) else { return .drop }
        slab = copy
        start = 0
      } else {
        slab = passage.slab
        environment.pool.retain(slab)
      }
    case .mangle(let packet, let current):
      mark = current
      passage.isSound = nil
      guard let copy = environment.output.copy(packet, in: environment.pool) else { return .drop }
      slab = copy
      start = 0
      octets = packet.length
    }
    defer { environment.pool.release(slab) }
    let bytes = unsafe environment.pool.bytes(slab, start, start + UInt32(octets))
    guard case .packet(let headers) = PacketHeaders.parse(unsafe bytes.bindMemory(to: UInt8.self).span) else {
      return verdict
    }
    let isSound =
      Checksum.verifyHeader(packet: unsafe bytes.bindMemory(to: UInt8.self).span, headers: headers)
      && (passage.isSound ?? passage.metadata.isChecksumTrusted
        || Checksum.verifyTransport(packet: unsafe bytes.bindMemory(to: UInt8.self).span, headers: headers))
    var packet = PacketInHand(slab: slab, start: start, headers: headers, isSound: isSound)
    guard leave(&packet, passage.connection, road, passage.metadata) else { return .drop }
    guard packet.isChanged else { return verdict }
    return mangled(packet, passage, mark: mark)
  }

  /// Shows a packet that is about to leave to the modules on the way out. Returns false where it goes no further.
  private mutating func leave(
    _ packet: inout PacketInHand, _ connection: (place: ConnectionTable.Place, direction: Direction)?,
    _ road: PacketModules.Road, _ metadata: PacketMetadata
  ) -> Bool {
    if let connection, hasDepartures(connection.place.slot, connection.direction) {
      let fate = connections[connection.place.slot].see(&packet, connection.direction, .departure, &environment)
      finish(connection.place.slot)
      if let fate {
        if fate == .reset {
          answer(packet, metadata, through: road.backFromDeparture(0, packetModules.instances))
        }
        return false
      }
    }
    guard let (index, fate) = show(&packet, to: road.departures) else { return true }
    if fate == .reset {
      answer(packet, metadata, through: road.backFromDeparture(index, packetModules.instances))
    }
    return false
  }

  private func hasDepartures(_ slot: UInt32, _ direction: Direction) -> Bool {
    !connections[slot][direction].departures.isEmpty
  }

  /// Shows what has been injected since the last time to the modules on the way out.
  mutating func departInjections() {
    guard environment.showsInjections else { return }
    while departed < environment.output.injections.count {
      let injection = environment.output.injections[departed]
      if injection.isAnswer || injectionLeaves(injection, at: departed) {
        keepUntracked(departed)
        departed += 1
      } else {
        environment.output.removeInjection(at: departed)
        environment.counters.injected -= 1
        attributed = max(departed, attributed - 1)
      }
    }
  }

  /// Keeps connection tracking away from an injection with other ends than those that it knows the connection by.
  private mutating func keepUntracked(_ index: Int) {
    let injection = environment.output.injections[index]
    guard let (place, direction) = injection.origin, connections.isCurrent(place) else { return }
    let header = unsafe environment.output.pieces[injection.packet.pieces.lowerBound]
    guard let segment = unsafe QuotedSegment(header.bindMemory(to: UInt8.self).span) else { return }
    let source = Endpoint(address: segment.ip.source, port: segment.sourcePort)
    let destination = Endpoint(address: segment.ip.destination, port: segment.destinationPort)
    let (client, server) = trackedEnds(place.slot)
    guard (source, destination) != (direction == .toServer ? (client, server) : (server, client)) else { return }
    environment.output.mark(index, with: environment.settings.marks.untracked)
  }

  private mutating func injectionLeaves(_ injection: Injection, at index: Int) -> Bool {
    var connection: (place: ConnectionTable.Place, direction: Direction)?
    var flow: Int?
    if let origin = injection.origin, connections.isCurrent(origin.place) {
      connection = origin
      flow = connections[origin.place.slot][origin.direction].flow.flatMap(configuration.index)
    }
    let road = packetModules.road(flow)
    let hasOwn = connection.map { hasDepartures($0.place.slot, $0.direction) } ?? false
    guard !road.departures.isEmpty || hasOwn else { return true }
    guard let slab = environment.output.copy(injection.packet, in: environment.pool) else { return false }
    defer { environment.pool.release(slab) }
    let bytes = unsafe environment.pool.bytes(slab, 0, UInt32(injection.packet.length))
    guard case .packet(let headers) = PacketHeaders.parse(unsafe bytes.bindMemory(to: UInt8.self).span) else {
      return true
    }
    var metadata = PacketMetadata()
    metadata.mark = injection.mark
    var packet = PacketInHand(slab: slab, start: 0, headers: headers, isSound: true)
    guard leave(&packet, connection, road, metadata) else { return false }
    if packet.isChanged {
      environment.output.replaceInjection(at: index, with: slab, 0..<packet.end, in: environment.pool)
    }
    return true
  }

  // MARK: Refusals

  /// Tells the source of a packet that it was refused, in the name of its destination: by a reset of TCP, else by ICMP. Not more
  /// often than the bucket allows, and never in answer to what must not be answered.
  ///
  /// - Parameter steps: the modules that the packet has met, the other way round.
  mutating func answer(_ packet: PacketInHand, _ metadata: PacketMetadata, through steps: [PacketModules.Step]) {
    let pool = environment.pool
    guard packet.isSound,
      let refusal = Refusal(of: unsafe packet.bytes(in: pool).bindMemory(to: UInt8.self).span, packet.headers),
      refusals.take(at: environment.now), let slab = pool.allocate(atLeast: refusal.length)
    else { return }
    defer { pool.release(slab) }
    let place = unsafe UnsafeMutableRawBufferPointer(rebasing: pool.writable(slab)[..<refusal.length])
    var span = unsafe place.bindMemory(to: UInt8.self).mutableSpan
    refusal.write(
      quoting: unsafe packet.bytes(in: pool).bindMemory(to: UInt8.self).span, packet.headers,
      identification: environment.nextIdentification(), into: &span)
    guard case .packet(let headers) = PacketHeaders.parse(span.span) else { return }
    var answer = PacketInHand(slab: slab, start: 0, headers: headers, isSound: true)
    guard show(&answer, to: steps) == nil else { return }
    environment.output.begin()
    environment.output.add(slab, 0, answer.end, in: pool)
    let marks = environment.settings.marks
    environment.output.inject(
      mark: metadata.mark | marks.injected, isIPv6: headers.ip.isIPv6, isAnswer: true, in: pool)
    environment.counters.injected += 1
    environment.counters.refusals += 1
  }
}

extension ConnectionIdentity {
  /// Of a packet by itself: the client is who sent it.
  init(of headers: PacketHeaders) {
    let ports = headers.ports ?? (0, 0)
    self.init(
      id: 0, clientAddress: headers.ip.source, clientPort: ports.source, serverAddress: headers.ip.destination,
      serverPort: ports.destination, direction: .toServer)
  }
}
