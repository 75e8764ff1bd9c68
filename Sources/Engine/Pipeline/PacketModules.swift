/// The modules of the layer `ip` at work in one engine, one instance for each flow that has one, and the order in which packets
/// meet them.
///
/// A packet belongs to the flow that its headers match as it comes in, and meets that flow's modules: on its way in those in
/// front of the first stage that works on a stream, on its way out the others. Modules of other flows that also work on the
/// peer direction see it as of theirs, on the opposite side and in reverse, so that what encloses the one way encloses the other.
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

  var instances: [ModuleInstance] = []
  /// For the flows of the configuration, in its order; the last is for packets of no flow.
  private var roads: [Road] = []
  /// Whether there is none of them.
  var isEmpty: Bool { instances.isEmpty }
  /// Whether what leaves may have to meet a module, of whichever layer.
  private(set) var hasDepartures = false

  init() {}

  /// The road of packets of the flow that stands at `index` of the configuration.
  func road(_ index: Int?) -> Road {
    roads.isEmpty ? Road() : roads[index ?? roads.count - 1]
  }

  /// Takes over the modules of `configuration`: those that are there go on.
  mutating func apply(_ configuration: Configuration, tallies: [UInt32: ModuleTally]) {
    var fresh: [ModuleInstance] = []
    var own: [(arrivals: [Int], departures: [Int])] = []
    for flow in configuration.flows {
      func take(_ modules: [AttachedModule]) -> [Int] {
        modules.filter { $0.description.layer == .ip }.map { attached in
          fresh.append(instance(of: attached, flow, tallies))
          return fresh.count - 1
        }
      }
      own.append((take(flow.arrivals), take(flow.departures)))
    }
    instances = fresh
    roads = (0...own.count).map { index in
      let others = own.indices.reversed().filter { $0 != index }
      func steps(_ modules: [Int], _ peers: (Int) -> [Int]) -> [Step] {
        modules.map { Step(instance: $0, isPeer: false) }
          + others.flatMap { peers($0).reversed().filter { fresh[$0].description.peer } }
          .map { Step(instance: $0, isPeer: true) }
      }
      return Road(
        arrivals: steps(index < own.count ? own[index].arrivals : []) { own[$0].departures },
        departures: steps(index < own.count ? own[index].departures : []) { own[$0].arrivals })
    }
    hasDepartures =
      roads.contains { !$0.departures.isEmpty }
      || configuration.flows.contains { flow in
        flow.departures.contains { $0.description.layer == .tcp }
          || flow.arrivals.contains { $0.description.layer == .tcp && $0.description.peer }
      }
  }

  /// The instance of `attached`: the one that is there, or a new one; one that has failed begins anew with `pm set`.
  private func instance(
    of attached: AttachedModule, _ flow: Flow, _ tallies: [UInt32: ModuleTally]
  ) -> ModuleInstance {
    guard let tally = tallies[attached.id] else { preconditionFailure("every module of a configuration has a tally") }
    var instance = ModuleInstance(attached, owner: .toServer, tally: tally)
    if let old = instances.first(where: { $0.id == attached.id }),
      !old.isOver || old.revision == attached.revision
    {
      instance = old
      if old.revision != attached.revision { instance.adopt(attached) }
    }
    instance.onFail = flow.onFail
    return instance
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
