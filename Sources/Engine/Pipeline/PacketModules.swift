/// The modules of the layer `ip` at work in one engine, one instance for each flow that has one, and the order in which packets
/// meet them.
///
/// A packet belongs to the flow that its headers match as it comes in, and meets that flow's modules: on its way in those in
/// front of the first stage that works on a stream, on its way out the others. Modules of other flows that also work on the
/// peer direction see it as of theirs, on the opposite side and in reverse, so that what encloses the one way encloses the other.
///
/// A packet that waits for a module on a thread goes on along the road that it has begun, whatever the configuration is by then.
struct PacketModules {
  /// A module that a packet meets.
  struct Step {
    /// Index of the instance.
    var instance: Int
    var isPeer: Bool
  }

  /// What a packet of one flow meets.
  struct Road {
    var arrivals: [Step] = []
    var departures: [Step] = []
  }

  /// Where a flow's own modules stand, as indices of instances.
  private struct Row {
    var arrivals: [Int] = []
    var departures: [Int] = []
  }

  /// Keep their places for as long as a packet waits for one of them.
  var instances: [ModuleInstance] = []
  /// Packets that threads have in their hands.
  private var lent: Int { instances.reduce(0) { $0 + ($1.packets?.count ?? 0) } }
  /// Whether some of them edit on threads, so that packets with other ends than they came in with are made here.
  var editOnThreads: Bool { instances.contains { $0.packets != nil && $0.description.access == .edit } }
  /// By ``Flow/id``.
  private var rows: [UInt32: Row] = [:]
  /// For the flows of the configuration, in its order; the last is for packets of no flow.
  private var roads: [Road] = []
  /// By ``Flow/id``, of flows that are no more while packets of theirs wait.
  private var formerRoads: [UInt32: Road] = [:]
  /// Whether there is none of them.
  var isEmpty: Bool { instances.isEmpty }
  /// Whether what leaves may have to meet a module, of whichever layer.
  private(set) var hasDepartures = false

  init() {}

  /// The road of packets of the flow that stands at `index` of the configuration.
  func road(_ index: Int?) -> Road {
    roads.isEmpty ? Road() : roads[index ?? roads.count - 1]
  }

  /// The road of a packet that has been classified.
  func road(of passage: Passage) -> Road {
    guard passage.flow == nil, let flow = passage.flowID else { return road(passage.flow) }
    return formerRoads[flow] ?? road(nil)
  }

  /// The instance whose packets go through `exchange`.
  func index(of exchange: PacketExchange) -> Int? { instances.firstIndex { $0.packets === exchange } }

  /// Counts and tells what a module has failed over, the first time.
  mutating func reportFailure(_ index: Int, _ environment: inout Environment) {
    guard case .failed(let reason) = instances[index].state, !instances[index].isFailureTold else { return }
    instances[index].isFailureTold = true
    instances[index].report(reason, connection: 0, &environment)
  }

  /// Takes over what has come of lending a packet to the thread of the module at `index`.
  mutating func take(_ lent: LentPacket, of index: Int, _ environment: inout Environment) {
    instances[index].take(lent, connection: 0, &environment)
    reportFailure(index, &environment)
  }

  /// Takes note that a thread is gone. Says whether it was one that was waited for, so that the roads are shorter now.
  mutating func forget(_ exchange: PacketExchange) -> Bool {
    guard let index = index(of: exchange) else { return false }
    instances[index].packets = nil
    return instances[index].isEnding
  }

  /// Takes over the modules of `configuration`: those that are there go on. One that is not wanted any more, or has another place
  /// in its row, while its thread has packets in its hands, stays until it has given them back: what comes meanwhile queues up
  /// behind them.
  mutating func apply(
    _ configuration: Configuration, tallies: [UInt32: ModuleTally], _ environment: inout Environment
  ) {
    let old = (instances: instances, rows: rows)
    let isCompact = lent == 0
    if isCompact { instances = [] }
    rows = [:]
    for flow in configuration.flows {
      let former = old.rows[flow.id] ?? Row()
      func row(_ modules: [AttachedModule], _ former: [Int]) -> [Int] {
        var last = -1
        var row: [Int] = []
        for attached in modules where attached.description.layer == .ip {
          let index = former.firstIndex { old.instances[$0].id == attached.id && !old.instances[$0].isEnding }
          let isInPlace = index.map { $0 > last } ?? false
          last = max(last, index ?? last)
          row.append(
            place(attached, flow, tallies, old.instances, index.map { former[$0] }, isInPlace: isInPlace, isCompact))
        }
        return isCompact ? row : lingering(former, in: row)
      }
      rows[flow.id] = Row(
        arrivals: row(flow.arrivals, former.arrivals), departures: row(flow.departures, former.departures))
    }
    formerRoads = [:]
    for (id, row) in old.rows where rows[id] == nil && !isCompact {
      let rest = Row(arrivals: lingering(row.arrivals, in: []), departures: lingering(row.departures, in: []))
      guard !rest.arrivals.isEmpty || !rest.departures.isEmpty else { continue }
      rows[id] = rest
      formerRoads[id] = Road(
        arrivals: rest.arrivals.map { Step(instance: $0, isPeer: false) },
        departures: rest.departures.map { Step(instance: $0, isPeer: false) })
    }
    let wanted = Set(rows.values.flatMap { $0.arrivals + $0.departures })
    for instance in isCompact ? old.instances : [] where !instances.contains(where: { $0.packets === instance.packets })
    {
      instance.packets?.end()
    }
    for index in instances.indices where !wanted.contains(index) { endThread(index) }
    for index in instances.indices {
      instances[index].startThread(.flow, home: .flow, connection: 0, &environment)
      reportFailure(index, &environment)
    }
    roads = roads(configuration)
    hasDepartures =
      (roads + formerRoads.values).contains { !$0.departures.isEmpty }
      || configuration.flows.contains { flow in
        flow.departures.contains { $0.description.layer == .tcp }
          || flow.arrivals.contains { $0.description.layer == .tcp && $0.description.peer }
      }
  }

  private mutating func endThread(_ index: Int) {
    guard !instances[index].isEnding else { return }
    instances[index].isEnding = true
    instances[index].packets?.end()
  }

  /// `row`, with those that packets still wait for where they stood: in front of what stood behind them.
  private mutating func lingering(_ former: [Int], in row: [Int]) -> [Int] {
    var list = row
    for (position, index) in former.enumerated().reversed()
    where !row.contains(index) && instances[index].packets.map({ $0.count > 0 }) ?? false {
      endThread(index)
      let behind = former[(position + 1)...].lazy.compactMap { list.firstIndex(of: $0) }.first
      list.insert(index, at: behind ?? list.count)
    }
    return list
  }

  /// Puts the instance of `attached` into ``instances``, and returns where: the one that is there, or a new one. One that has
  /// failed begins anew with `pm set`.
  private mutating func place(
    _ attached: AttachedModule, _ flow: Flow, _ tallies: [UInt32: ModuleTally], _ old: [ModuleInstance], _ index: Int?,
    isInPlace: Bool, _ isCompact: Bool
  ) -> Int {
    let index = index ?? old.firstIndex { $0.id == attached.id && !$0.isEnding }
    if let index, !old[index].isOver || old[index].revision == attached.revision,
      isInPlace || (old[index].packets?.count ?? 0) == 0
    {
      var instance = old[index]
      if instance.revision != attached.revision { instance.adopt(attached) }
      instance.onFail = flow.onFail
      guard isCompact else {
        instances[index] = instance
        return index
      }
      instances.append(instance)
      return instances.count - 1
    }
    guard let tally = tallies[attached.id] else { preconditionFailure("every module of a configuration has a tally") }
    var instance = ModuleInstance(attached, owner: .toServer, tally: tally)
    instance.onFail = flow.onFail
    instances.append(instance)
    return instances.count - 1
  }

  private func roads(_ configuration: Configuration) -> [Road] {
    let own = configuration.flows.map { rows[$0.id] ?? Row() }
    return (0...own.count).map { index in
      let others = own.indices.reversed().filter { $0 != index }
      func steps(_ modules: [Int], _ peers: (Int) -> [Int]) -> [Step] {
        modules.map { Step(instance: $0, isPeer: false) }
          + others.flatMap { peers($0).reversed().filter { instances[$0].description.peer } }
          .map { Step(instance: $0, isPeer: true) }
      }
      return Road(
        arrivals: steps(index < own.count ? own[index].arrivals : []) { own[$0].departures },
        departures: steps(index < own.count ? own[index].departures : []) { own[$0].arrivals })
    }
  }
}

extension PacketModules {
  /// Why those have failed that have, by ``AttachedModule/id``.
  var failures: [UInt32: String] {
    var failures: [UInt32: String] = [:]
    for instance in instances where !instance.isEnding { failures[instance.id] = instance.failure }
    return failures
  }

  /// What has come, of all packets of its flow, to each module that packets of a direction of a connection meet.
  ///
  /// - Parameter flow: the ``Flow/id`` of that direction; nil where no packet of it has been seen.
  func positions(
    _ flow: UInt32??, _ direction: Direction, _ configuration: Configuration
  ) -> (arrivals: [ConnectionInfo.Module], departures: [ConnectionInfo.Module]) {
    guard let flow else { return ([], []) }
    let road = road(flow.flatMap(configuration.index))
    func positions(_ steps: [Step]) -> [ConnectionInfo.Module] {
      steps.map { instances[$0.instance].position(direction, isPeer: $0.isPeer, isEnded: false) }
    }
    return (positions(road.arrivals), positions(road.departures))
  }
}

extension PacketModules.Road {
  /// Whether one of the modules on the way out may change a packet.
  func mayEditDepartures(_ instances: [ModuleInstance]) -> Bool {
    departures.contains { instances[$0.instance].description.access == .edit }
  }

  /// What answers a packet that the step at `index` of the way in has refused: the modules in front of it, the other way round.
  func backFromArrival(_ index: Int, _ instances: [ModuleInstance]) -> [PacketModules.Step] {
    Self.back(arrivals[..<index], instances)
  }

  func backFromDeparture(_ index: Int, _ instances: [ModuleInstance]) -> [PacketModules.Step] {
    Self.back(departures[..<index], instances) + Self.back(arrivals[...], instances)
  }

  private static func back(
    _ steps: ArraySlice<PacketModules.Step>, _ instances: [ModuleInstance]
  ) -> [PacketModules.Step] {
    steps.reversed().compactMap { step in
      step.isPeer || instances[step.instance].description.peer
        ? PacketModules.Step(instance: step.instance, isPeer: !step.isPeer) : nil
    }
  }
}
