/// The pipelines of a connection: running them, and changing them while it lives.
extension Connection {
  /// Runs the pipeline of `direction` over `stream` and hands what comes out to TCP out; `stream` is one of the spare queues.
  ///
  /// - Parameter patience: how many times its hold time a module may hold; nil where only new octets have come.
  mutating func runPipeline(
    _ direction: Direction, _ stream: inout SegmentQueue, patience: Int64? = nil, _ environment: inout Environment
  ) {
    let isEnded = self[direction].receiver.isEnded
    if isEnded, !self[direction].isEndTold {
      self[direction].isEndTold = true
      tell(.halfClosed(ConnectionIdentity.Direction(direction)), &environment)
    }
    run(direction, &stream, patience: patience, &environment)
    handOver(&stream, direction, environment.pool)
    environment.spareQueues.giveBack(&stream)
    heedModules(&environment)
    endStream(direction)
  }

  /// Has the end of the stream leave behind its last octet, once no module holds any of them.
  mutating func endStream(_ direction: Direction) {
    guard self[direction].receiver.isEnded, !isObserved, self[direction].pipeline.isDone else { return }
    self[direction].sender.appendFinish()
  }

  private mutating func run(
    _ direction: Direction, _ stream: inout SegmentQueue, patience: Int64?, _ environment: inout Environment
  ) {
    guard !self[direction].pipeline.stages.isEmpty else {
      self[direction].sender.paced = 0
      return
    }
    halves[direction].pipeline.run(
      &stream, isEnded: self[direction].receiver.isEnded, patience: patience, identity: identity(direction),
      instances: &instances, &environment)
    self[direction].sender.paced = self[direction].pipeline.paced(instances)
  }

  /// What modules are told of the connection.
  func identity(_ direction: Direction) -> ConnectionIdentity {
    ConnectionIdentity(
      id: id, clientAddress: client.address, clientPort: client.port, serverAddress: server.address,
      serverPort: server.port, direction: ConnectionIdentity.Direction(direction))
  }

  private var identities: (toServer: ConnectionIdentity, toClient: ConnectionIdentity) {
    (identity(.toServer), identity(.toClient))
  }

  /// Hands what modules have released to TCP out. Of a connection that is only observed it has left long ago.
  private mutating func handOver(_ stream: inout SegmentQueue, _ direction: Direction, _ pool: SlabPool) {
    guard !isObserved else {
      stream.removeAll(in: pool)
      return
    }
    halves[direction].sender.append(&stream, in: pool)
    if self[direction].sender.map.jumps > 0 { isEdited = true }
  }

  // MARK: Packets

  /// Shows a segment to the modules of the layer `tcp` on one side.
  ///
  /// - Parameter rest: those that are left to see it, of one that has waited for a thread; nil for all.
  mutating func see(
    _ packet: inout PacketInHand, _ passage: Passage, _ direction: Direction, _ side: Half.Side,
    _ rest: [Pipeline.Step]?, _ leaving: LentPacket.Leaving?, _ environment: inout Environment
  ) -> Engine.Passing {
    let members = self[direction].members(side)
    for (index, member) in members.enumerated() {
      if let rest, !rest.contains(Pipeline.Step(member, instances)) { continue }
      if let exchange = instances[member.instance].packets {
        let isLent = environment.lend(
          packet, passage, to: exchange, isPeer: member.isPeer, identity: identity(direction),
          .segment(side, rest: Pipeline.Step.list(members[(index + 1)...], instances), leaving))
        if isLent { instances[member.instance].takeNote(ofArrival: packet.count(at: .tcp), isPeer: member.isPeer) }
        return .lent
      }
      guard instances[member.instance].isAtWork else { continue }
      let fate = instances[member.instance].see(
        &packet, isPeer: member.isPeer, identity: identity(direction), &environment)
      heedModules(&environment)
      if phase == .cut { return .ended(index, .drop) }
      if let fate { return .ended(index, fate) }
    }
    return .through
  }

  /// Takes over what has come of showing a segment to a module on its thread. Returns what it wants to become of it.
  mutating func take(
    _ lent: LentPacket, from exchange: PacketExchange, _ environment: inout Environment
  ) -> ModuleRequests.Fate? {
    if let index = instances.firstIndex(where: { $0.packets === exchange }) {
      instances[index].take(lent, connection: id, &environment)
      heedModules(&environment)
    }
    return phase == .cut ? .drop : lent.showing?.fate
  }

  /// Takes over what a module that gets segments on a thread has counted and told beside them. Says whether that is still one of its
  /// own.
  mutating func take(
    report: ModuleReturn, from exchange: PacketExchange, _ environment: inout Environment
  ) -> Bool {
    guard let index = instances.firstIndex(where: { $0.packets === exchange }) else { return false }
    instances[index].take(report: report, connection: id, &environment)
    heedModules(&environment)
    return true
  }

  /// Takes note that the thread of a module is gone, and has given back everything.
  mutating func forget(_ exchange: PacketExchange, _ environment: inout Environment) {
    guard let index = instances.firstIndex(where: { $0.packets === exchange }) else { return }
    instances[index].packets = nil
    instances[index].isThreadGone = true
    heedModules(&environment)
  }

  func mayEditDepartures(_ direction: Direction) -> Bool {
    self[direction].departures.contains { instances[$0.instance].description.access == .edit }
  }

  /// Gives the connection the modules of the layer `tcp` of its two flows.
  mutating func arrangePacketModules(
    toServer: Flow?, toClient: Flow?, tallies: [UInt32: ModuleTally], place: ConnectionTable.Place,
    _ environment: inout Environment
  ) {
    func ofSegments(_ modules: [AttachedModule]?) -> [[AttachedModule]] {
      (modules ?? []).filter { $0.description.layer == .tcp }.map { [$0] }
    }
    instances.retire(.tcp, .toServer, except: ofSegments(toServer?.modules))
    instances.retire(.tcp, .toClient, except: ofSegments(toClient?.modules))
    for direction in Direction.allCases {
      let (own, peer) = direction == .toServer ? (toServer, toClient) : (toClient, toServer)
      let arrivals = instances.members(
        ofSegments(own?.arrivals), own?.onFail, peers: ofSegments(peer?.departures), peer?.onFail, direction, tallies)
      self[direction].arrivals = lingering(self[direction].arrivals, in: arrivals.flatMap(\.self))
      let departures = instances.members(
        ofSegments(own?.departures), own?.onFail, peers: ofSegments(peer?.arrivals), peer?.onFail, direction, tallies)
      self[direction].departures = lingering(self[direction].departures, in: departures.flatMap(\.self))
    }
    instances.greet(isWhole: isWhole, identities, &environment)
    for index in instances.indices where instances[index].description.layer == .tcp {
      instances[index].startThread(.connection, home: .connection(place), connection: id, &environment)
    }
    heedModules(&environment)
  }

  /// `wanted`, with those of `former` for whose threads packets wait where they stood: in front of what stood behind them.
  private func lingering(_ former: [Pipeline.Member], in wanted: [Pipeline.Member]) -> [Pipeline.Member] {
    var list = wanted
    for (position, member) in former.enumerated().reversed()
    where instances[member.instance].packets != nil && !wanted.contains(where: { $0.instance == member.instance }) {
      let behind = former[(position + 1)...].lazy.compactMap { next in
        list.firstIndex { $0.instance == next.instance }
      }.first
      list.insert(member, at: behind ?? list.count)
    }
    return list
  }

  // MARK: Live changes

  /// Gives the connection the modules of its two flows: new ones are made, those that are gone come to an end, the rest
  /// goes on. All of it at one point of each stream: between what has left the stage and what has not.
  mutating func reconfigure(
    toServer: Flow?, toClient: Flow?, tallies: [UInt32: ModuleTally], place: ConnectionTable.Place,
    _ environment: inout Environment
  ) {
    self[.toServer].flow = toServer?.id
    self[.toClient].flow = toClient?.id
    instances.retire(.app, .toServer, except: allowed(toServer))
    instances.retire(.app, .toClient, except: allowed(toClient))
    var wanted = Direction.allCases.map { members($0, toServer, toClient, tallies) }
    if retireMovers(to: wanted) { wanted = Direction.allCases.map { members($0, toServer, toClient, tallies) } }
    instances.greet(isWhole: isWhole, identities, &environment)
    startThreads(place, &environment)
    for direction in Direction.allCases {
      var rest = SegmentQueue()
      halves[direction].pipeline.arrange(wanted[direction.rawValue], instances, &rest, in: environment.pool)
      handOver(&rest, direction, environment.pool)
      self[direction].sender.holdCredit = self[direction].pipeline.holdLimit(instances)
    }
    heedModules(&environment)
    for direction in Direction.allCases where phase != .cut {
      // Who comes behind the end of a stream that is still on its way through the others has to be told.
      if self[direction].receiver.isEnded, self[direction].sender.finish == nil, !isObserved {
        var stream = environment.spareQueues.take()
        runPipeline(direction, &stream, &environment)
      }
      flush(direction, &environment)
    }
  }

  /// Whether who comes now sees all of it.
  private var isWhole: Bool { !isObserved && Direction.allCases.allSatisfy { self[$0].octetsIn == 0 } }

  /// The members that the stages of a direction are to have; those that are not there yet are made.
  private mutating func members(
    _ direction: Direction, _ toServer: Flow?, _ toClient: Flow?, _ tallies: [UInt32: ModuleTally]
  ) -> [[Pipeline.Member]] {
    let (own, peer) = direction == .toServer ? (toServer, toClient) : (toClient, toServer)
    return instances.members(allowed(own), own?.onFail, peers: allowed(peer), peer?.onFail, direction, tallies)
  }

  /// Has those modules on threads come to an end that are to go to another stage, for what a thread has in its hands belongs
  /// to the one in which it was handed over: others begin in their place. Says whether there was one.
  private mutating func retireMovers(to wanted: [[[Pipeline.Member]]]) -> Bool {
    guard instances.hasThreads else { return false }
    var isMoving = false
    for direction in Direction.allCases {
      for index in self[direction].pipeline.movers(to: wanted[direction.rawValue])
      where instances[index].exchange != nil {
        instances[index].state = .retiring
        isMoving = true
      }
    }
    return isMoving
  }

  /// The modules of `flow` that may work on this connection's streams, stage by stage.
  private func allowed(_ flow: Flow?) -> [[AttachedModule]] {
    let stages = flow?.streamStages ?? []
    return restriction == nil ? stages : stages.filter { $0.allSatisfy { $0.description.access == .read } }
  }

  /// Puts those modules to work on threads that are to run there and have none yet.
  private mutating func startThreads(_ place: ConnectionTable.Place, _ environment: inout Environment) {
    guard let post = environment.post else { return }
    for index in instances.indices
    where instances[index].runsOnThread && instances[index].thread == nil && instances[index].state == .working
      && instances[index].description.layer == .app
    {
      guard !instances[index].description.needsThread || !instances[index].description.peer else {
        instances[index].fail("it reads from one stream, and asks for the peer direction too")
        continue
      }
      let owner = instances[index].owner
      let exchange = StreamExchange(
        instances[index].module, place: place, origin: instances[index].origin(id), post: post,
        pool: environment.pool, identities: (identity(owner), identity(owner.opposite)))
      if post.start(exchange) {
        instances[index].exchange = exchange
        environment.exchanges[ObjectIdentifier(exchange)] = exchange
      } else {
        instances[index].fail("there can be no more threads")
      }
    }
  }

  /// Whether the pipelines may change now: not while octets have passed that the modules have yet to read, or still hold, for
  /// an editor put among them would change what the destination already has.
  var isSettled: Bool {
    Direction.allCases.allSatisfy {
      self[$0].sender.map.outputEnd >= self[$0].passedEdge || self[$0].sender.finish != nil
    }
  }

  // MARK: Modules that end

  /// Does what modules have asked for, and takes those out that have come to an end or failed. What they held goes through
  /// the stages behind them.
  private mutating func heedModules(_ environment: inout Environment) {
    // A module may fail over what another one let go.
    while instances.isRestless, phase != .cut {
      var hasGone = false
      for index in instances.indices.reversed() {
        if let fate = instances[index].fate {
          cut(fate, &environment)
          return
        }
        switch instances[index].state {
        case .working: continue
        case .failed(let reason):
          // Segments that its thread has go on in front of those that come now.
          let isGone = instances[index].packets == nil && takeOut(index, environment.pool)
          guard isGone || instances[index].packets != nil else { continue }
          if !instances[index].isFailureTold {
            instances[index].isFailureTold = true
            instances[index].report(reason, connection: id, &environment)
          }
          switch instances[index].onFail {
          case .pass: hasGone = isGone || hasGone
          case .drop:
            cut(.drop, &environment)
            return
          case .reset:
            cut(.reset, &environment)
            return
          }
        case .offloaded where instances[index].packets != nil: continue
        case .offloaded: hasGone = takeOut(index, environment.pool) || hasGone
        case .retiring:
          guard retires(index) else { continue }
          _ = takeOut(index, environment.pool)
          instances.remove(at: index)
          for direction in Direction.allCases {
            self[direction].pipeline.renumber(without: index)
            self[direction].arrivals.renumber(without: index)
            self[direction].departures.renumber(without: index)
          }
          hasGone = true
        }
      }
      guard hasGone else { return }
      for direction in Direction.allCases {
        var stream = SegmentQueue()
        run(direction, &stream, patience: nil, &environment)
        handOver(&stream, direction, environment.pool)
      }
    }
  }

  /// Whether a module that is to come to an end may go. That on a thread says so by going.
  private mutating func retires(_ index: Int) -> Bool {
    guard let exchange = instances[index].thread else {
      return instances[index].isThreadGone || instances[index].module.retire()
    }
    if !instances[index].isRetireTold {
      instances[index].isRetireTold = true
      exchange.retire()
    }
    return false
  }

  /// Has the thread of a module end; what it may still look at is kept until it has.
  mutating func leaveThread(of instance: Int, in pool: SlabPool) {
    instances[instance].packets?.end()
    instances[instance].packets = nil
    guard let exchange = instances[instance].exchange else { return }
    for direction in Direction.allCases {
      for stage in self[direction].pipeline.stages where stage.members.contains(where: { $0.instance == instance }) {
        exchange.pin(stage.input, in: pool)
      }
    }
    exchange.end()
    instances[instance].exchange = nil
  }

  /// Takes over what a module on a thread of its own has returned. Says whether that is still one of its own.
  mutating func take(
    _ part: ModuleReturn, from exchange: StreamExchange, _ environment: inout Environment
  ) -> Bool {
    guard let index = instances.firstIndex(where: { $0.exchange === exchange }) else { return false }
    let direction = part.isPeer ? instances[index].owner.opposite : instances[index].owner
    instances[index].count(part)
    instances[index].take(part.requests, connection: id, &environment)
    if instances[index].fate == nil { instances[index].tally.common.octetsOut += UInt64(part.released) }
    halves[direction].pipeline.take(part, of: index, instances, &environment)
    if part.isStaying { instances[index].isStaying = true }
    guard part.isGone else { return true }
    instances[index].exchange = nil
    instances[index].isThreadGone = true
    if instances[index].state == .working, instances[index].fate == nil { instances[index].state = .offloaded }
    return true
  }

  /// Takes a module out of both directions; says whether it was in one of them.
  private mutating func takeOut(_ instance: Int, _ pool: SlabPool) -> Bool {
    var wasIn = false
    leaveThread(of: instance, in: pool)
    for direction in Direction.allCases {
      wasIn = self[direction].arrivals.remove(instance) || wasIn
      wasIn = self[direction].departures.remove(instance) || wasIn
      var rest = SegmentQueue()
      wasIn = self[direction].pipeline.remove(instance, &rest, in: pool) || wasIn
      handOver(&rest, direction, pool)
    }
    return wasIn
  }

  /// Ends the connection: from here on nothing of it passes.
  mutating func cut(_ fate: ModuleRequests.Fate, _ environment: inout Environment) {
    environment.counters.cut += 1
    if fate == .reset {
      for direction in Direction.allCases { injectReset(direction, &environment) }
    }
    enter(.cut, &environment)
    removeAll(in: environment.pool)
    for direction in Direction.allCases { self[direction].retransmission = nil }
  }
}
