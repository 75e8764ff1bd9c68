import Engine

extension FlowAdd {
  public func apply(to state: inout WantedState, in environment: Controller.Environment) throws(ControlError) -> Reply {
    try Name.check(name, of: "flow")
    let wanted = try WantedFlow.Terms(match: match, priority: priority, onFail: onFail, in: environment)
    if let index = state.find(name) {
      try acceptPresent(state.flows[index], for: wanted)
      return Reply(created: false, flow: state.flows[index].described)
    }
    state.append { id in
      WantedFlow(
        id: id, name: name, match: wanted.match, priority: wanted.priority ?? WantedFlow.defaultPriority,
        onFail: wanted.onFail ?? .pass)
    }
    return Reply(created: true, flow: state.flows[state.flows.count - 1].described)
  }

  /// Throws unless the flow that has the name may stand for the one that is asked for.
  private func acceptPresent(_ flow: WantedFlow, for wanted: WantedFlow.Terms) throws(ControlError) {
    guard mayExist == true else {
      throw ControlError(
        .exists, "there is already a flow '\(name)'",
        mend: "'flow replace' changes it, '--may-exist' accepts it where it is equal")
    }
    let priority = wanted.priority ?? WantedFlow.defaultPriority
    let onFail = wanted.onFail ?? .pass
    var differences: [String] = []
    if flow.match != wanted.match { differences.append("its match is '\(flow.match)', not '\(wanted.match)'") }
    if flow.priority != priority { differences.append("its priority is \(flow.priority), not \(priority)") }
    if flow.onFail != onFail { differences.append("its on-fail is '\(flow.onFail)', not '\(onFail)'") }
    guard differences.isEmpty else {
      throw ControlError(
        .exists, "there is a flow '\(name)' already, and it differs: " + differences.joined(separator: "; "),
        mend: "'flow replace' changes it")
    }
  }
}

extension FlowReplace {
  public func apply(to state: inout WantedState, in environment: Controller.Environment) throws(ControlError) -> Reply {
    let index = try state.index(of: name)
    let wanted = try WantedFlow.Terms(match: match, priority: priority, onFail: onFail, in: environment)
    return try state.update(at: index) { flow throws(ControlError) in
      for module in flow.modules {
        try module.description.checkFits(wanted.match, of: name, module: module.name)
        try module.prototype.checkVersion(wanted.match, of: name, module: module.name)
      }
      flow.match = wanted.match
      flow.priority = wanted.priority ?? flow.priority
      flow.onFail = wanted.onFail ?? flow.onFail
      return Reply(flow: flow.described)
    }
  }
}

extension FlowDelete {
  public func apply(to state: inout WantedState, in environment: Controller.Environment) throws(ControlError) -> Reply {
    if ifExists == true, state.find(name) == nil { return Reply(deleted: false) }
    state.remove(at: try state.index(of: name))
    return Reply(deleted: true)
  }
}

extension FlowList {
  public func perform(on controller: Controller) -> Reply { Reply(flows: controller.state.flows.map(\.described)) }
}

extension FlowShow {
  public func perform(on controller: Controller) throws(ControlError) -> Reply {
    let state = controller.state
    return Reply(flow: state.flows[try state.index(of: name)].described)
  }
}

extension WantedFlow {
  /// What `flow add` and `flow replace` have in common, checked.
  struct Terms {
    let match: Match
    let priority: Int?
    let onFail: Flow.FailurePolicy?

    init(
      match text: String, priority: Int?, onFail: Flow.FailurePolicy?, in environment: Controller.Environment
    ) throws(ControlError) {
      do {
        match = try Match(parsing: text, portNamed: environment.portNamed)
      } catch {
        throw ControlError(.refused, error.description, at: "match '\(text)'")
      }
      if let priority, !WantedFlow.priorities.contains(priority) {
        throw ControlError(
          .refused, "priority \(priority) is out of bounds",
          mend: "use \(WantedFlow.priorities.lowerBound) to \(WantedFlow.priorities.upperBound), the higher the sooner")
      }
      self.priority = priority
      self.onFail = onFail
    }
  }
}
