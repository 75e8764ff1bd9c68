/// Modules that work on packets: on the way in before TCP, on the way out behind it.
extension Engine {
  /// Where a packet is on its way along a row of modules.
  enum Position {
    case start
    /// Behind the module at an index, which wanted that to become of it.
    case behind(Int, ModuleRequests.Fate?)
  }

  /// How it has come through.
  enum Passing {
    case through
    /// The module at an index ended its way.
    case ended(Int, ModuleRequests.Fate)
    /// The thread of a module has it.
    case lent
  }

  // MARK: In

  /// Shows a packet to the modules of the layer `ip` on its way in. Returns false where it goes no further, or waits for one.
  mutating func arrive(_ passage: inout Passage, _ headers: inout PacketHeaders) -> Bool {
    let key = FlowKey(headers, passage.metadata)
    passage.key = key
    passage.flow = configuration.classifier.lookup(key)
    passage.flowID = passage.flow.map { configuration.flows[$0].id }
    let road = packetModules.road(of: passage)
    guard !road.arrivals.isEmpty else { return true }
    var packet = packetInHand(&passage, headers)
    defer { headers = packet.headers }
    return arrive(&packet, &passage, road.arrivals, .start)
  }

  /// As ``arrive(_:_:)``, along `steps` and from `position` on.
  mutating func arrive(
    _ packet: inout PacketInHand, _ passage: inout Passage, _ steps: [PacketModules.Step], _ position: Position
  ) -> Bool {
    let passing = show(&packet, passage, to: steps, position) { .arrival(steps, $0) }
    passage.isChanged = packet.isChanged
    // It may be mended.
    if passage.isSound == false { passage.isSound = packet.isSound }
    if case .ended(let index, .reset) = passing {
      let road = PacketModules.Road(arrivals: steps)
      answer(packet, passage.metadata, through: road.backFromArrival(index, packetModules.instances))
    }
    if case .through = passing { return true }
    return false
  }

  private func packetInHand(_ passage: inout Passage, _ headers: PacketHeaders) -> PacketInHand {
    let bytes = unsafe bytes(of: passage)
    return PacketInHand(
      slab: passage.slab, start: passage.start, headers: headers,
      isSound: isSound(&passage, headers)
        && Checksum.verifyHeader(packet: unsafe bytes.bindMemory(to: UInt8.self).span, headers: headers))
  }

  /// Shows a packet to modules one after the other.
  ///
  /// - Parameter course: how it goes on behind the module at an index whose thread it is lent to.
  mutating func show(
    _ packet: inout PacketInHand, _ passage: Passage, to steps: [PacketModules.Step], _ position: Position,
    _ course: (Int) -> LentPacket.Course
  ) -> Passing {
    var index = 0
    if case .behind(let last, let fate) = position {
      if let fate = fate ?? fateOfFailure(steps[last]) { return .ended(last, fate) }
      index = last + 1
    }
    while index < steps.count {
      let step = steps[index]
      // Of one that is to end only what waits already is waited for.
      if let exchange = packetModules.instances[step.instance].packets,
        exchange.count > 0 || !packetModules.instances[step.instance].isEnding
      {
        let isEditor = packetModules.instances[step.instance].description.access == .edit
        guard packet.headers.isOfLink || passage.isSealed(packet) else {
          let isLent = environment.lend(
            packet, passage, to: exchange, isPeer: step.isPeer, identity: ConnectionIdentity(of: packet.headers),
            course(index))
          if isLent {
            packetModules.instances[step.instance].takeNote(ofArrival: packet.count(at: .ip), isPeer: step.isPeer)
          }
          return .lent
        }
        packetModules.instances[step.instance].tally.common.unseen += 1
        if packet.headers.isOfLink {
          environment.counters.threadUnseen += 1
        } else {
          environment.counters.superDatagrams += 1
          if isEditor { return .ended(index, .drop) }
          if let fate = packetModules.instances[step.instance].onFail.fate { return .ended(index, fate) }
        }
      } else if packetModules.instances[step.instance].isAtWork {
        let fate = packetModules.instances[step.instance].see(
          &packet, isPeer: step.isPeer, identity: ConnectionIdentity(of: packet.headers), &environment)
        packetModules.reportFailure(step.instance, &environment)
        if let fate { return .ended(index, fate) }
      }
      if let fate = fateOfFailure(step) { return .ended(index, fate) }
      index += 1
    }
    return .through
  }

  /// What becomes of a packet for which a module has failed: that lets nothing of its flow pass, where its flow says so.
  private func fateOfFailure(_ step: PacketModules.Step) -> ModuleRequests.Fate? {
    let instance = packetModules.instances[step.instance]
    return instance.isOver && !instance.isEnding && !step.isPeer ? instance.onFail.fate : nil
  }

  /// Shows a segment to the modules of the layer `tcp` on its way in. Returns the segment as it is then; nil where it goes no
  /// further.
  mutating func arrive(_ arrival: Arrival, _ slot: UInt32, _ direction: Direction, _ passage: inout Passage) -> Arrival?
  {
    var packet = packetInHand(&passage, arrival.headers)
    let passing = connections[slot].see(&packet, passage, direction, .arrival, nil, nil, &environment)
    return arrived(packet, passing, &passage)
  }

  /// The segment that modules of the layer `tcp` have let through on its way in; nil where they have not.
  mutating func arrived(_ packet: PacketInHand, _ passing: Passing, _ passage: inout Passage) -> Arrival? {
    passage.isChanged = passage.isChanged || packet.isChanged
    guard case .through = passing, case .tcp(let tcp) = packet.headers.transport else {
      if case .ended(_, .reset) = passing {
        let road = packetModules.road(of: passage)
        answer(
          packet, passage.metadata, through: road.backFromArrival(road.arrivals.count, packetModules.instances))
      }
      return nil
    }
    return Arrival(
      ip: packet.headers.ip, tcp: tcp, slab: packet.slab, start: packet.start,
      payloadStart: packet.start + UInt32(packet.headers.payloadOffset), payloadCount: packet.headers.payloadLength,
      metadata: passage.metadata)
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
    let road = packetModules.road(of: passage)
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
        slab = unsafe environment.pool.copyReserved(whole: bytes(of: passage))
        start = 0
      } else {
        slab = passage.slab
        environment.pool.retain(slab)
      }
    case .mangle(let packet, let current):
      mark = current
      passage.isSound = nil
      slab = environment.output.copy(packet, in: environment.pool)
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
    let leaving = LentPacket.Leaving(passage, mark: mark ?? passage.metadata.mark)
    guard leave(&packet, passage, road, leaving) else { return .drop }
    guard packet.isChanged else { return verdict }
    return mangled(packet, passage, mark: mark)
  }

  /// Shows a packet that is about to leave to the modules on the way out. Returns false where it goes no further, or waits for one.
  private mutating func leave(
    _ packet: inout PacketInHand, _ passage: Passage, _ road: PacketModules.Road, _ leaving: LentPacket.Leaving
  ) -> Bool {
    if let connection = passage.connection, hasDepartures(connection.place.slot, connection.direction) {
      let passing = connections[connection.place.slot].see(
        &packet, passage, connection.direction, .departure, nil, leaving, &environment)
      finish(connection.place.slot)
      guard hasLeft(packet, passing, passage) else { return false }
    }
    return leave(&packet, passage, road.departures, .start, leaving)
  }

  /// Whether modules of the layer `tcp` have let a segment through on its way out.
  mutating func hasLeft(_ packet: PacketInHand, _ passing: Passing, _ passage: Passage) -> Bool {
    if case .ended(_, .reset) = passing {
      let road = packetModules.road(of: passage)
      answer(packet, passage.metadata, through: road.backFromDeparture(0, packetModules.instances))
    }
    if case .through = passing { return true }
    return false
  }

  /// As above, along `steps` of the layer `ip` and from `position` on.
  mutating func leave(
    _ packet: inout PacketInHand, _ passage: Passage, _ steps: [PacketModules.Step], _ position: Position,
    _ leaving: LentPacket.Leaving
  ) -> Bool {
    let passing = show(&packet, passage, to: steps, position) { .departure(steps, $0, leaving) }
    if case .ended(let index, .reset) = passing {
      let road = PacketModules.Road(arrivals: packetModules.road(of: passage).arrivals, departures: steps)
      answer(packet, passage.metadata, through: road.backFromDeparture(index, packetModules.instances))
    }
    if case .through = passing { return true }
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
      if injection.hasMetAll || injectionLeaves(injection, at: departed) {
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
    let slab = environment.output.copy(injection.packet, in: environment.pool)
    defer { environment.pool.release(slab) }
    let bytes = unsafe environment.pool.bytes(slab, 0, UInt32(injection.packet.length))
    guard case .packet(let headers) = PacketHeaders.parse(unsafe bytes.bindMemory(to: UInt8.self).span) else {
      return true
    }
    var passage = Passage(
      slab: slab, start: 0, octets: injection.packet.length, metadata: PacketMetadata(),
      marks: environment.settings.marks)
    passage.metadata.mark = injection.mark
    passage.flow = flow
    passage.flowID = flow.map { configuration.flows[$0].id }
    passage.connection = connection
    var packet = PacketInHand(slab: slab, start: 0, headers: headers, isSound: true)
    let leaving = LentPacket.Leaving(passage, mark: injection.mark)
    guard leave(&packet, passage, road, leaving) else { return false }
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
      refusals.take(at: environment.now)
    else { return }
    let slab = pool.allocateReserved(atLeast: refusal.length)
    defer { pool.release(slab) }
    let place = unsafe UnsafeMutableRawBufferPointer(rebasing: pool.writable(slab)[..<refusal.length])
    var span = unsafe place.bindMemory(to: UInt8.self).mutableSpan
    refusal.write(
      quoting: unsafe packet.bytes(in: pool).bindMemory(to: UInt8.self).span, packet.headers,
      identification: environment.nextIdentification(), into: &span)
    guard case .packet(let headers) = PacketHeaders.parse(span.span) else { return }
    var answer = PacketInHand(slab: slab, start: 0, headers: headers, isSound: true)
    let passage = Passage(
      slab: slab, start: 0, octets: refusal.length, metadata: PacketMetadata(), marks: environment.settings.marks)
    let mark = metadata.mark | environment.settings.marks.injected
    let passing = show(&answer, passage, to: steps, .start) { .answer(steps, $0, mark: mark) }
    if case .through = passing { injectAnswer(answer, mark: mark) }
  }

  /// Sends an answer that has met all modules on its way back.
  mutating func injectAnswer(_ answer: PacketInHand, mark: UInt32) {
    environment.output.begin()
    environment.output.add(answer.slab, answer.start, answer.end, in: environment.pool)
    environment.output.inject(
      mark: mark, isIPv6: answer.headers.ip.isIPv6, hasMetAll: true, in: environment.pool)
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
