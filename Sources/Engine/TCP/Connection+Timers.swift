/// What a connection does when time passes, and what it tells of itself.
extension Connection {
  /// When it has something to do next.
  func deadline(_ settings: Settings) -> Instant {
    var deadline = expiry(settings)
    // What modules held is gone with it.
    guard !hasLeft else { return deadline }
    for direction in Direction.allCases {
      if let held = holdDeadline(direction) { deadline = min(deadline, held) }
      if let held = holdAcknowledgement(direction) { deadline = min(deadline, held) }
      if let early = self[direction].early, early.isPending, !isTransparent(direction) {
        deadline = min(deadline, early.deadline)
      }
      if let armed = self[direction].retransmission { deadline = min(deadline, armed.deadline) }
    }
    return deadline
  }

  /// When it is forgotten if nothing comes any more.
  private func expiry(_ settings: Settings) -> Instant {
    switch phase {
    case .synSent, .synReceived: lastPacket + settings.handshakeTimeout
    // One that ended before it was seen may have left a last word behind.
    case .established where isObserved && (self[.toServer].receiver.isEnded || self[.toClient].receiver.isEnded):
      lastPacket + settings.handshakeTimeout
    case .established: lastPacket + settings.idleTimeout
    // Each late segment may be followed by another (RFC 9293 section 3.6.1: the 2 MSL timeout begins anew).
    case .timeWait, .closed, .cut, .offloaded: lastPacket + settings.closeTimeout
    }
  }

  func isExpired(_ settings: Settings, at now: Instant) -> Bool { expiry(settings) <= now }

  /// When what modules hold has been held for too long.
  private func holdDeadline(_ direction: Direction) -> Instant? {
    self[direction].pipeline.deadline(instances, patience: holdPatience(direction))
  }

  /// How many times its hold time a module may hold: where a gap is seen, the octets that it waits for are on their way.
  func holdPatience(_ direction: Direction) -> Int64 { self[direction].receiver.outOfOrder.isEmpty ? 1 : 10 }

  /// Does what is due now.
  mutating func timersFired(_ environment: inout Environment) {
    guard !hasLeft else { return }
    for direction in Direction.allCases {
      if let due = holdAcknowledgement(direction), due <= environment.now {
        acknowledgeHeld(direction, &environment)
      }
      if let due = holdDeadline(direction), due <= environment.now {
        var stream = environment.spareQueues.take()
        runPipeline(direction, &stream, patience: holdPatience(direction), &environment)
        flush(direction, &environment)
      }
      reportEarly(direction, &environment)
      retransmissionExpired(direction, &environment)
      armRetransmission(direction, environment)
    }
  }

  /// Lets on what modules on threads of their own have returned.
  mutating func modulesReturned(_ environment: inout Environment) {
    for direction in Direction.allCases where !hasLeft {
      var stream = environment.spareQueues.take()
      runPipeline(direction, &stream, &environment)
    }
    guard !hasLeft, !isObserved else { return }
    for direction in Direction.allCases {
      flush(direction, &environment)
      armRetransmission(direction, environment)
    }
  }

  /// Sends what modules have released beside a packet, and acknowledges what they have removed.
  mutating func flush(_ direction: Direction, _ environment: inout Environment) {
    endStream(direction)
    transmitPending(direction, &environment)
    if self[direction].sender.hasNewsForSource { acknowledgeToSource(direction, &environment) }
  }

  /// Whether a SYN begins a new connection in the place of this one at once: both ends have ended it, or it never got beyond a
  /// SYN of the same end that this one does not repeat; or it has left. That a reset has arrived where it went is not known.
  func isSuperseded(by arrival: Arrival) -> Bool {
    if phase == .timeWait || hasLeft { return true }
    return phase == .synSent
      && direction(from: Endpoint(address: arrival.ip.source, port: arrival.tcp.sourcePort)) == .toServer
      && self[.toServer].flowKey != nil && arrival.sequence + 1 != self[.toServer].receiver.next
  }

  func info(at now: Instant) -> ConnectionInfo {
    var state = hasLeft ? phase.rawValue : restriction?.rawValue ?? phase.rawValue
    if restriction == nil, phase == .established, self[.toServer].receiver.isEnded || self[.toClient].receiver.isEnded {
      state = "closing"
    }
    return ConnectionInfo(
      id: id, clientAddress: client.address, clientPort: client.port, serverAddress: server.address,
      serverPort: server.port, state: state, isEdited: isEdited, age: now - opened, idle: now - lastPacket,
      toServer: info(.toServer), toClient: info(.toClient), modules: modulePositions { _ in ([], []) })
  }

  private func info(_ direction: Direction) -> ConnectionInfo.Direction {
    return ConnectionInfo.Direction(
      flow: self[direction].flow, octetsIn: self[direction].octetsIn,
      octetsOut: isObserved ? self[direction].octetsIn : self[direction].sender.octetsOut,
      held: self[direction].pipeline.held,
      unacknowledged: self[direction].sender.inFlight, shift: self[direction].sender.map.shift,
      mapEntries: self[direction].sender.map.runCount)
  }

  /// Where its modules stand, in the order of the stages.
  ///
  /// - Parameter outer: those of the layer `ip` that its packets of a direction meet in front of these and behind.
  func modulePositions(
    _ outer: (Direction) -> (arrivals: [ConnectionInfo.Module], departures: [ConnectionInfo.Module])
  ) -> [ConnectionInfo.Module] {
    let isEnded = phase == .timeWait || phase == .closed || phase == .cut
    var list: [ConnectionInfo.Module] = []
    var staying: Set<Int> = []
    for direction in Direction.allCases {
      let (arrivals, departures) = outer(direction)
      list += arrivals
      list += instances.positions(of: self[direction].arrivals, direction, isEnded: isEnded)
      list += instances.positions(in: self[direction].pipeline, direction, isEnded: isEnded)
      list += instances.positions(of: self[direction].departures, direction, isEnded: isEnded)
      list += departures
      let packetMembers = self[direction].arrivals + self[direction].departures
      staying.formUnion((packetMembers + self[direction].pipeline.stages.flatMap(\.members)).map(\.instance))
    }
    for index in instances.indices where instances[index].isOver && !staying.contains(index) {
      let instance = instances[index]
      list.append(
        instance.description.layer == .tcp
          ? instance.position(instance.owner, isPeer: false, isEnded: isEnded) : instance.remains(isEnded: isEnded))
    }
    return list
  }
}
