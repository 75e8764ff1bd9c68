import Engine

extension StatisticsRead {
  public func perform(on controller: Controller) throws(ControlError) -> Reply {
    let flows = try controller.state.flows(named: flow)
    let statistics = controller.dataPlane.statistics()
    return Reply(
      engine: flow == nil ? EngineTotals(statistics) : nil,
      flows: flows.map { FlowTotals($0, statistics) })
  }
}

extension EngineTotals {
  fileprivate init(_ statistics: Statistics) {
    self.init(
      connections: statistics.connections, memoryInUse: statistics.memoryInUse,
      memoryReserved: statistics.memoryReserved,
      counters: statistics.engine.byName.merging(statistics.kernel) { $1 })
  }
}

extension FlowTotals {
  fileprivate init(_ flow: WantedFlow, _ statistics: Statistics) {
    self.init(
      name: flow.name, counters: (statistics.flows[flow.id] ?? FlowCounters()).byName,
      modules: flow.modules.map { ModuleTotals($0, statistics) })
  }
}

extension ModuleTotals {
  fileprivate init(_ module: WantedModule, _ statistics: Statistics) {
    let counted = statistics.modules[module.id]
    var own: [String: UInt64] = [:]
    for (index, name) in module.description.counters.enumerated() {
      own[name] = counted.flatMap { index < $0.own.count ? $0.own[index] : nil } ?? 0
    }
    self.init(
      name: module.name, kind: module.description.kind, counters: (counted?.common ?? ModuleCounters()).byName,
      own: own)
  }
}

extension CounterSet {
  var byName: [String: UInt64] { Dictionary(uniqueKeysWithValues: named.map { ($0.name, $0.value) }) }
}
