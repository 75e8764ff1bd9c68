import Engine

extension Transaction {
  public func perform(on controller: Controller) throws(ControlError) -> Reply {
    let isTrial = check == true
    let attached = try controller.commit(asTrial: isTrial) { state, environment throws(ControlError) in
      try apply(to: &state, in: environment)
    }
    return Reply(changes: steps.count, applied: !isTrial, attached: attached)
  }

  /// Makes every change in `state`; on an error, which names the line, `state` is left half done.
  func apply(
    to state: inout WantedState, in environment: Controller.Environment
  ) throws(ControlError) -> [AttachedInstance] {
    var attached: [AttachedInstance] = []
    for step in steps {
      do {
        let reply: any Sendable = try step.change.apply(to: &state, in: environment)
        if let instance = reply as? AttachedInstance { attached.append(instance) }
      } catch {
        throw error.found(at: "\(source ?? "request"):\(step.line)")
      }
    }
    return attached
  }
}

extension Dump {
  public func perform(on controller: Controller) -> Reply {
    var lines: [String] = []
    for flow in controller.state.flows {
      lines.append(
        ShellWords.join([
          "flow", "add", flow.name, flow.match.description, "--priority", String(flow.priority), "--on-fail",
          flow.onFail.rawValue,
        ]))
      var last = 0
      for module in flow.modules {
        var words = ["pm", "attach", flow.name, module.description.kind]
        words += module.given.map { "\($0.key)=\($0.value)" }
        words += ["--name", module.name]
        // The first of a stage makes it, behind those that there are.
        if module.stage == last { words += ["--stage", String(module.stage)] }
        if module.run != module.description.runs[0] { words += ["--run", module.run.rawValue] }
        lines.append(ShellWords.join(words))
        last = module.stage
      }
    }
    return Reply(commands: lines.map { $0 + "\n" }.joined())
  }
}

extension Ping {
  public func perform(on controller: Controller) -> Reply { Reply(pong: true) }
}

extension VersionRead {
  public func perform(on controller: Controller) -> Reply { Reply(version: controller.version) }
}

extension Shutdown {
  public func perform(on controller: Controller) -> Reply {
    controller.dataPlane.shutdown()
    return Reply(stopping: true)
  }
}
