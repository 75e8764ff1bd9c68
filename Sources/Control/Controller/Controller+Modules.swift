import Engine

extension ModuleTypes {
  public func perform(on controller: Controller) throws(ControlError) -> Reply {
    guard let kind else { return Reply(kinds: controller.registry.kinds) }
    return Reply(kinds: [ModuleKind(try controller.registry.type(ofKind: kind).description)])
  }
}

extension ModuleAttach {
  public func apply(to state: inout WantedState, in environment: Controller.Environment) throws(ControlError) -> Reply {
    if insert == true, stage == nil {
      throw ControlError(.usage, "it is not said in front of which stage to insert", mend: "give '--stage' too")
    }
    let index = try state.index(of: flow)
    let type = try environment.registry.type(ofKind: kind)
    let run = try runMode(of: type.description)
    let id = state.nextModuleID()
    return try state.update(at: index) { flow throws(ControlError) in
      let name = try freeName(in: flow)
      let stage = try flow.checked(stage: stage ?? flow.stageCount + 1)
      try type.description.checkFits(flow.match, of: flow.name, module: name)
      let given = try type.description.order(arguments ?? [:], at: "flow '\(flow.name)', module '\(name)'")
      let module = WantedModule(
        id: id, name: name, stage: stage, run: run, given: given,
        prototype: try make(type, with: given, at: "flow '\(flow.name)', module '\(name)'"))
      try module.prototype.checkVersion(flow.match, of: flow.name, module: name)
      try flow.put(module, into: stage, isInserted: insert == true)
      return Reply(flow: flow.name, name: name, stage: stage)
    }
  }

  /// How the module runs, where it can run so.
  private func runMode(of description: ModuleDescription) throws(ControlError) -> AttachedModule.RunMode {
    let place = "flow '\(flow)', module '\(kind)'"
    guard let mode = run.map(AttachedModule.RunMode.init(rawValue:)) ?? description.runs[0] else {
      throw ControlError(
        .refused, "a module cannot be run as '\(run ?? "")'", at: place, mend: "use 'inline' or 'thread'")
    }
    guard description.runs.contains(mode) else {
      throw ControlError(
        .refused, "'\(kind)' waits for its bytes", at: place, mend: "run it as '\(description.runs[0])'")
    }
    return mode
  }

  /// The name that was asked for where it is free; without one the kind, then the kind with 2, 3 and so on.
  private func freeName(in flow: WantedFlow) throws(ControlError) -> String {
    let taken = Set(flow.modules.map(\.name))
    guard let name else {
      if !taken.contains(kind) { return kind }
      var number = 2
      while taken.contains("\(kind)\(number)") { number += 1 }
      return "\(kind)\(number)"
    }
    try Name.check(name, of: "module")
    guard !taken.contains(name) else {
      throw ControlError(
        .exists, "flow '\(flow.name)' has a module '\(name)' already", mend: "use another '--name', or leave it out")
    }
    return name
  }
}

extension ModuleDetach {
  public func apply(to state: inout WantedState, in environment: Controller.Environment) throws(ControlError) -> Reply {
    if ifExists == true {
      guard let index = state.find(flow), state.flows[index].modules.contains(where: { $0.name == name }) else {
        return Reply(detached: false)
      }
    }
    return try state.update(at: try state.index(of: flow)) { flow throws(ControlError) in
      flow.remove(at: try flow.index(of: name))
      return Reply(detached: true)
    }
  }
}

extension ModuleMove {
  public func apply(to state: inout WantedState, in environment: Controller.Environment) throws(ControlError) -> Reply {
    try state.update(at: try state.index(of: flow)) { flow throws(ControlError) in
      let index = try flow.index(of: name)
      let module = flow.modules[index]
      let stage = try flow.checked(stage: stage)
      guard stage != module.stage || insert == true else { return Reply(stage: stage) }
      try flow.put(module, into: stage, isInserted: insert == true)
      return Reply(stage: flow.modules[try flow.index(of: name)].stage)
    }
  }
}

extension ModuleSet {
  public func apply(to state: inout WantedState, in environment: Controller.Environment) throws(ControlError) -> Reply {
    guard !arguments.isEmpty else {
      throw ControlError(
        .usage, "there is nothing to set", at: "flow '\(flow)', module '\(name)'", mend: "give KEY=VALUE")
    }
    return try state.update(at: try state.index(of: flow)) { flow throws(ControlError) in
      let index = try flow.index(of: name)
      let module = flow.modules[index]
      let place = "flow '\(flow.name)', module '\(name)'"
      let merged = Dictionary(uniqueKeysWithValues: module.given).merging(arguments) { _, new in new }
      let given = try module.description.order(merged, at: place)
      let prototype = try make(type(of: module.prototype), with: given, at: place)
      try prototype.checkVersion(flow.match, of: flow.name, module: name)
      try flow.checkEditor(prototype, named: name, at: module.stage)
      flow.modules[index].given = given
      flow.modules[index].prototype = prototype
      flow.modules[index].revision += 1
      return Reply(revision: module.revision + 1)
    }
  }
}

extension ModuleList {
  public func perform(on controller: Controller) throws(ControlError) -> Reply {
    let flows = try controller.state.flows(named: flow)
    let statistics = controller.dataPlane.statistics()
    let held = controller.dataPlane.octetsHeld()
    return Reply(
      modules: flows.flatMap { flow in
        zip(flow.modules, flow.instances).map { module, instance in
          var instance = instance
          instance.counters = (statistics.modules[module.id]?.common ?? ModuleCounters()).byName
          instance.octetsHeld = held[module.id] ?? 0
          instance.reason = statistics.failures[module.id]
          instance.state = instance.reason == nil ? "working" : "failed"
          return instance
        }
      })
  }
}

/// Makes a prototype; its refusal becomes an error at `place`.
private func make(
  _ type: any ProcessingModule.Type, with given: [(key: String, value: String)], at place: String
) throws(ControlError) -> any ProcessingModule {
  do {
    return try type.init(try Arguments(given, for: type.description.parameters))
  } catch {
    throw ControlError(.refused, error.description, at: place, mend: "'pm types \(type.description.kind)' tells more")
  }
}

extension ModuleDescription {
  /// The arguments in the order in which the parameters are declared; throws where one is not declared.
  fileprivate func order(
    _ arguments: [String: String], at place: String
  ) throws(ControlError) -> [(key: String, value: String)] {
    let known = parameters.map(\.name)
    if let stranger = arguments.keys.filter({ !known.contains($0) }).min() {
      throw ControlError(
        .refused, "'\(kind)' has no parameter '\(stranger)'", at: place,
        mend: Nearest.mend(for: stranger, among: known)
          ?? (known.isEmpty ? "it takes none" : "it takes: \(known.joined(separator: ", "))"))
    }
    return known.compactMap { key in arguments[key].map { (key, $0) } }
  }
}
