/// The pipelines of a connection: running them, and changing them while it lives.
extension Connection {
  /// Runs the pipeline of `direction` over `stream` and hands what comes out to TCP out.
  ///
  /// - Parameter patience: how many times its hold time a module may hold; nil where only new octets have come.
  mutating func runPipeline(
    _ direction: Direction, _ stream: inout SegmentQueue, patience: Int64? = nil, _ environment: inout Environment
  ) {
    let isEnded = self[direction].receiver.isEnded
    if !self[direction].pipeline.stages.isEmpty {
      halves[direction.rawValue].pipeline.run(
        &stream, isEnded: isEnded, patience: patience, instances: &instances, pool: environment.pool,
        now: environment.now)
    }
    handOver(&stream, direction, environment.pool)
    dropRetired(&environment)
    if isEnded, !isObserved { self[direction].sender.appendFinish() }
  }

  /// Hands what modules have released to TCP out. Of a connection that is only observed it has left long ago.
  private mutating func handOver(_ stream: inout SegmentQueue, _ direction: Direction, _ pool: SlabPool) {
    guard !isObserved else {
      stream.removeAll(in: pool)
      return
    }
    halves[direction.rawValue].sender.append(&stream, in: pool)
    if self[direction].sender.map.jumps > 0 { isEdited = true }
  }

  /// Gives the connection the modules of its two flows: new ones are made, those that are gone come to an end, the rest
  /// goes on. All of it at one point of each stream: between what has left the stage and what has not.
  mutating func reconfigure(
    toServer: Flow?, toClient: Flow?, tallies: [UInt32: ModuleTally], _ environment: inout Environment
  ) {
    self[.toServer].flow = toServer?.id
    self[.toClient].flow = toClient?.id
    for direction in Direction.allCases {
      let own = direction == .toServer ? toServer : toClient
      let peer = direction == .toServer ? toClient : toServer
      // Peers stand behind a direction's own modules, and in reverse, so that what one module encloses on the one way it
      // encloses on the other.
      let wanted =
        allowed(own).map { (attached: $0, isPeer: false) }
        + allowed(peer).reversed().filter(\.description.peer).map { (attached: $0, isPeer: true) }
      let old = self[direction].pipeline.stages
      var stages: [Pipeline.Stage] = []
      for (attached, isPeer) in wanted {
        let owner = isPeer ? direction.opposite : direction
        let instance = instance(of: attached, owner, tallies)
        stages.append(
          old.first { $0.instance == instance && $0.isPeer == isPeer }
            ?? Pipeline.Stage(instance: instance, isPeer: isPeer))
      }
      // Those that are not wanted any more keep their place until they retire.
      for (index, stage) in old.enumerated()
      where !stages.contains(where: { $0.instance == stage.instance && $0.isPeer == stage.isPeer }) {
        instances[stage.instance].isRetiring = true
        let before = old[..<index].last { earlier in
          stages.contains { $0.instance == earlier.instance && $0.isPeer == earlier.isPeer }
        }
        let place = before.flatMap { before in
          stages.firstIndex { $0.instance == before.instance && $0.isPeer == before.isPeer }
        }
        stages.insert(stage, at: place.map { $0 + 1 } ?? 0)
      }
      self[direction].pipeline.stages = stages
    }
    dropRetired(&environment)
    for direction in Direction.allCases { flush(direction, &environment) }
  }

  /// The modules of `flow` that may work on this connection.
  private func allowed(_ flow: Flow?) -> [AttachedModule] {
    let modules = flow?.pipeline ?? []
    return restriction == nil ? modules : modules.filter { $0.description.access == .read }
  }

  /// Index of the instance of `attached` that belongs to `owner`; made where there is none, set anew where `pm set` has
  /// changed it.
  private mutating func instance(
    of attached: AttachedModule, _ owner: Direction, _ tallies: [UInt32: ModuleTally]
  ) -> Int {
    if let index = instances.firstIndex(where: { $0.id == attached.id && $0.owner == owner && !$0.isRetiring }) {
      if instances[index].revision != attached.revision { instances[index].adopt(attached) }
      return index
    }
    guard let tally = tallies[attached.id] else { preconditionFailure("every module of a configuration has a tally") }
    instances.append(ModuleInstance(attached, owner: owner, tally: tally))
    return instances.count - 1
  }

  /// Whether the pipelines may change now: not while octets have passed that the modules have yet to read, or still hold, for
  /// an editor put among them would change what the destination already has.
  var isSettled: Bool {
    Direction.allCases.allSatisfy {
      self[$0].sender.map.outputEnd >= self[$0].passedEdge || self[$0].sender.finish != nil
    }
  }

  /// Takes the modules out that were detached and are ready to go. What they held goes through the stages behind them.
  private mutating func dropRetired(_ environment: inout Environment) {
    guard instances.contains(where: \.isRetiring) else { return }
    for gone in instances.indices.reversed() where instances[gone].isRetiring && instances[gone].module.retire() {
      for direction in Direction.allCases { removeStages(of: gone, direction, environment.pool) }
      instances.remove(at: gone)
    }
    for direction in Direction.allCases {
      var stream = SegmentQueue()
      halves[direction.rawValue].pipeline.run(
        &stream, isEnded: self[direction].receiver.isEnded, patience: nil, instances: &instances,
        pool: environment.pool, now: environment.now)
      handOver(&stream, direction, environment.pool)
    }
  }

  private mutating func removeStages(of gone: Int, _ direction: Direction, _ pool: SlabPool) {
    while let index = self[direction].pipeline.stages.firstIndex(where: { $0.instance == gone }) {
      var stage = self[direction].pipeline.stages.remove(at: index)
      if index < self[direction].pipeline.stages.count {
        stage.input.move(all: &halves[direction.rawValue].pipeline.stages[index].input)
      } else {
        handOver(&stage.input, direction, pool)
      }
    }
    for index in self[direction].pipeline.stages.indices where self[direction].pipeline.stages[index].instance > gone {
      self[direction].pipeline.stages[index].instance -= 1
    }
  }
}
