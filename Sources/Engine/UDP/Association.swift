/// What two ends say to each other by UDP: datagrams of the same addresses and ports, in both directions.
///
/// Every datagram goes through the pipeline of its direction by itself and leaves at once, so nothing is ever held.
struct Association: ~Copyable {
  let id: UInt64
  /// Who sent the first datagram that was seen.
  let client: Endpoint
  let server: Endpoint
  private var paths: Pair<Path>
  private(set) var instances: [ModuleInstance] = []
  /// Modules of its flows that can take no part.
  private var bystanders: [Bystander] = []
  private(set) var isEdited = false
  /// What becomes of its datagrams, where a module has failed and its flow says so, or `flowctl conn kill` has ended it.
  private(set) var fate: ModuleRequests.Fate?
  /// Whether the kernel forwards it alone.
  private(set) var isOffloaded = false
  private let opened: Instant
  var lastDatagram: Instant
  /// Its neighbours in the order of ``AssociationTable``.
  var older: Int?
  var newer: Int?

  /// One direction.
  struct Path {
    /// ``Flow/id`` of the flow that it belongs to.
    var flow: UInt32?
    /// The fields of its first datagram, by which it is classified.
    var flowKey: FlowKey?
    var pipeline = Pipeline()
    var octetsIn: UInt64 = 0
    var octetsOut: UInt64 = 0
  }

  init(id: UInt64, client: Endpoint, server: Endpoint, now: Instant) {
    self.id = id
    self.client = client
    self.server = server
    paths = Pair(Path(), Path())
    opened = now
    lastDatagram = now
  }

  var key: ConnectionKey { ConnectionKey(client, server) }

  subscript(direction: Direction) -> Path {
    @inline(__always) unsafeAddress { unsafe paths.address(direction) }
    @inline(__always) unsafeMutableAddress { unsafe paths.mutableAddress(direction) }
  }

  func direction(from source: Endpoint) -> Direction { source == client ? .toServer : .toClient }

  /// Runs the modules over the payload of one datagram, and says what is to become of that one; nil where it goes on with what
  /// `datagram` is then, or waits for the thread of a module.
  ///
  /// - Parameters:
  ///   - rest: the modules that are left to see it, of one that has waited; nil for all.
  ///   - limit: octets of payload that can leave in its packet; a module that makes more of it has failed.
  mutating func datagramArrived(
    _ datagram: inout SegmentQueue, _ rest: [Pipeline.Step]?, _ direction: Direction, mayEdit: Bool, limit: Int,
    _ environment: inout Environment
  ) -> (fate: ModuleRequests.Fate?, wait: Pipeline.Wait?) {
    if rest == nil {
      self[direction].octetsIn += UInt64(datagram.count)
      for bystander in bystanders { bystander.pass(direction) }
    }
    guard fate == nil else { return (fate, nil) }
    let wait = paths[direction].pipeline.run(
      datagram: &datagram, rest, mayEdit: mayEdit, limit: limit, identity: identity(direction), instances: &instances,
      &environment)
    let asked = heedModules(&environment)
    let fate = fate ?? asked
    return (fate, fate == nil ? wait : nil)
  }

  func identity(_ direction: Direction) -> ConnectionIdentity {
    ConnectionIdentity(
      id: id, clientAddress: client.address, clientPort: client.port, serverAddress: server.address,
      serverPort: server.port, direction: ConnectionIdentity.Direction(direction))
  }

  /// Takes note that a datagram of so many octets is with the thread of a module.
  mutating func lent(_ octets: Int, to wait: Pipeline.Wait) {
    guard let index = instances.firstIndex(where: { $0.packets === wait.exchange }) else { return }
    instances[index].takeNote(ofArrival: octets, isPeer: wait.isPeer)
  }

  /// Takes over what has come of showing a datagram to a module on its thread. Returns what is to become of it; nil where it goes
  /// on with what it is then.
  mutating func take(
    _ lent: LentPacket, from exchange: PacketExchange, _ environment: inout Environment
  ) -> ModuleRequests.Fate? {
    if let index = instances.firstIndex(where: { $0.packets === exchange }) {
      if let returned = lent.returned {
        instances[index].count(returned)
        instances[index].take(returned.requests, connection: id, &environment)
      }
      if !instances[index].hasEndedTheWay {
        if lent.returned.map({ $0.taken.octets > 0 }) ?? false { instances[index].tally.common.forcedReleases += 1 }
        instances[index].takeNote(ofRelease: lent.returned?.released ?? lent.octets, isPeer: lent.isPeer)
      }
    }
    let asked = heedModules(&environment)
    return fate ?? asked
  }

  /// Takes over what a module on a thread has counted and told beside its datagrams. Says whether that is still one of its own.
  mutating func take(
    report: ModuleReturn, from exchange: PacketExchange, _ environment: inout Environment
  ) -> Bool {
    guard let index = instances.firstIndex(where: { $0.packets === exchange }) else { return false }
    instances[index].take(report: report, connection: id, &environment)
    _ = heedModules(&environment)
    return true
  }

  /// Takes note that the thread of a module is gone, and has given back everything.
  mutating func forget(_ exchange: PacketExchange, _ environment: inout Environment) {
    guard let index = instances.firstIndex(where: { $0.packets === exchange }) else { return }
    instances[index].packets = nil
    instances[index].isThreadGone = true
    _ = heedModules(&environment)
  }

  mutating func left(_ octets: Int, _ direction: Direction, isChanged: Bool) {
    self[direction].octetsOut += UInt64(octets)
    isEdited = isEdited || isChanged
  }

  /// Gives the association the modules of its two flows. One that is written to read from a stream can take no part, which is
  /// counted and told.
  mutating func reconfigure(
    toServer: Flow?, toClient: Flow?, tallies: [UInt32: ModuleTally], _ environment: inout Environment
  ) {
    self[.toServer].flow = toServer?.id
    self[.toClient].flow = toClient?.id
    guard fate == nil else { return }
    func stages(_ flow: Flow?) -> [[AttachedModule]] {
      (flow?.streamStages ?? []).map { $0.filter { !$0.description.needsThread } }
    }
    bystanders = Self.bystanders(toServer, .toServer, tallies) + Self.bystanders(toClient, .toClient, tallies)
    for bystander in bystanders { bystander.report(connection: id, &environment) }
    instances.retire(.app, .toServer, except: stages(toServer))
    instances.retire(.app, .toClient, except: stages(toClient))
    for direction in Direction.allCases {
      let (own, peer) = direction == .toServer ? (toServer, toClient) : (toClient, toServer)
      let members = instances.members(stages(own), own?.onFail, peers: stages(peer), peer?.onFail, direction, tallies)
      var rest = SegmentQueue()
      self[direction].pipeline.arrange(members, instances, &rest, in: environment.pool)
    }
    let identities = (identity(.toServer), identity(.toClient))
    instances.greet(
      isWhole: Direction.allCases.allSatisfy { self[$0].octetsIn == 0 }, identities, &environment)
    for index in instances.indices {
      instances[index].startThread(.connection, home: .association(key, id: id), connection: id, &environment)
    }
    _ = heedModules(&environment)
  }

  private static func bystanders(
    _ flow: Flow?, _ owner: Direction, _ tallies: [UInt32: ModuleTally]
  ) -> [Bystander] {
    (flow?.streamStages ?? []).flatMap(\.self).filter(\.description.needsThread).compactMap { attached in
      tallies[attached.id].map { Bystander(attached, owner: owner, tally: $0) }
    }
  }

  /// Whether modules had an interest in it, and none has any more.
  var isGivenUp: Bool { fate == nil && instances.isGivenUp }

  /// Leaves it to the kernel.
  mutating func offload(_ environment: inout Environment) {
    environment.counters.offloaded += 1
    isOffloaded = true
  }

  /// Ends it: from here on nothing of it passes, and its modules are done.
  mutating func cut(_ fate: ModuleRequests.Fate, _ environment: inout Environment) {
    guard self.fate == nil else { return }
    environment.counters.cut += 1
    endModules(.reset, &environment)
    self.fate = fate
  }

  /// Takes out what has come to an end or failed, and returns what a module has asked to become of the datagram at hand.
  private mutating func heedModules(_ environment: inout Environment) -> ModuleRequests.Fate? {
    var asked: ModuleRequests.Fate?
    for index in instances.indices.reversed() where instances[index].isRestless {
      asked = instances[index].takeFate() ?? asked
      switch instances[index].state {
      case .working: break
      case .failed(let reason):
        // Datagrams that its thread has go on in front of those that come now.
        guard instances[index].packets != nil || takeOut(index, environment.pool) else { continue }
        if !instances[index].isFailureTold {
          instances[index].isFailureTold = true
          instances[index].report(reason, connection: id, &environment)
        }
        if let fate = instances[index].onFail.fate { cut(fate, &environment) }
      case .offloaded: if instances[index].packets == nil { _ = takeOut(index, environment.pool) }
      case .retiring:
        guard retires(index) else { continue }
        _ = takeOut(index, environment.pool)
        instances.remove(at: index)
        for direction in Direction.allCases { self[direction].pipeline.renumber(without: index) }
      }
    }
    return asked
  }

  /// Whether a module that is to come to an end may go. That on a thread says so by going.
  private mutating func retires(_ index: Int) -> Bool {
    guard let thread = instances[index].packets else {
      return instances[index].isThreadGone || instances[index].module.retire()
    }
    if !instances[index].isRetireTold {
      instances[index].isRetireTold = true
      thread.retire()
    }
    return false
  }

  private mutating func takeOut(_ instance: Int, _ pool: SlabPool) -> Bool {
    var wasIn = false
    for direction in Direction.allCases {
      var rest = SegmentQueue()
      wasIn = self[direction].pipeline.remove(instance, &rest, in: pool) || wasIn
    }
    return wasIn
  }

  /// Tells the modules that it is forgotten.
  mutating func end(_ environment: inout Environment) {
    if fate == nil { endModules(.closed, &environment) }
  }

  private mutating func endModules(_ change: ConnectionChange, _ environment: inout Environment) {
    for index in instances.indices {
      let identity = identity(instances[index].owner)
      if !instances[index].isOver { instances[index].tell(change, identity, &environment) }
      instances[index].packets?.end()
      instances[index].packets = nil
    }
  }

  func info(at now: Instant) -> ConnectionInfo {
    ConnectionInfo(
      id: id, clientAddress: client.address, clientPort: client.port, serverAddress: server.address,
      serverPort: server.port, state: isOffloaded ? "offloaded" : fate == nil ? "udp" : "cut", isEdited: isEdited,
      age: now - opened, idle: now - lastDatagram, toServer: info(.toServer), toClient: info(.toClient),
      modules: modulePositions { _ in ([], []) })
  }

  private func info(_ direction: Direction) -> ConnectionInfo.Direction {
    let held = instances.reduce(0) { sum, instance in
      sum + (instance.packets?.held(isPeer: instance.owner != direction) ?? 0)
    }
    return ConnectionInfo.Direction(
      flow: self[direction].flow, octetsIn: self[direction].octetsIn, octetsOut: self[direction].octetsOut, held: held,
      unacknowledged: 0, shift: 0, mapEntries: 0)
  }

  /// Where its modules stand; see ``Connection/modulePositions(_:)``.
  func modulePositions(
    _ outer: (Direction) -> (arrivals: [ConnectionInfo.Module], departures: [ConnectionInfo.Module])
  ) -> [ConnectionInfo.Module] {
    var list: [ConnectionInfo.Module] = []
    for direction in Direction.allCases {
      let (arrivals, departures) = outer(direction)
      let members = self[direction].pipeline.stages.flatMap(\.members)
      list += arrivals + instances.positions(of: members, direction, isEnded: fate != nil) + departures
    }
    let staying = Set(Direction.allCases.flatMap { self[$0].pipeline.stages.flatMap { $0.members.map(\.instance) } })
    for index in instances.indices where instances[index].isOver && !staying.contains(index) {
      list.append(instances[index].position(instances[index].owner, isPeer: false, isEnded: fate != nil))
    }
    return list + bystanders.map(\.info)
  }
}
