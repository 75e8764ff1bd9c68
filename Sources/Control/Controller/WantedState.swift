import Engine

/// The flows and pipelines that were asked for, with what is needed to show and dump them.
///
/// A value: a change works on a copy, and a copy whose change failed is thrown away.
public struct WantedState: Sendable {
  /// In the order in which they were made.
  private(set) var flows: [WantedFlow] = []
  private var lastFlowID: UInt32 = 0
  private var lastModuleID: UInt32 = 0

  init() {}

  /// What the data plane is to do.
  var configuration: Configuration { Configuration(flows: flows.map(\.flow)) }

  func find(_ name: String) -> Int? { flows.firstIndex { $0.name == name } }

  /// The index of the flow called `name`.
  func index(of name: String) throws(ControlError) -> Int {
    if let index = find(name) { return index }
    throw ControlError(
      .notFound, "there is no flow '\(name)'",
      mend: Nearest.mend(for: name, among: flows.map(\.name)) ?? "'flow list' lists them")
  }

  /// The flow called `name`, or all flows without a name.
  func flows(named name: String?) throws(ControlError) -> ArraySlice<WantedFlow> {
    guard let name else { return flows[...] }
    let index = try index(of: name)
    return flows[index...index]
  }

  /// The attached modules by their identifiers.
  var attached: [UInt32: ModuleInstance] {
    Dictionary(uniqueKeysWithValues: flows.flatMap { flow in zip(flow.modules.map(\.id), flow.instances) })
  }

  mutating func append(_ make: (_ id: UInt32) -> WantedFlow) {
    lastFlowID += 1
    flows.append(make(lastFlowID))
  }

  mutating func remove(at index: Int) { flows.remove(at: index) }

  mutating func update<Result>(
    at index: Int, _ change: (inout WantedFlow) throws(ControlError) -> Result
  ) throws(ControlError) -> Result {
    try change(&flows[index])
  }

  /// A module identifier that was never given before.
  mutating func nextModuleID() -> UInt32 {
    lastModuleID += 1
    return lastModuleID
  }
}

/// A flow as it was asked for.
struct WantedFlow: Sendable {
  /// In the middle, so that there is room on both sides.
  static let defaultPriority = 32_768
  static let priorities = 0...65_535

  let id: UInt32
  let name: String
  var match: Match
  var priority: Int
  var onFail: Flow.FailurePolicy
  /// In the order of their stages, which are numbered from 1 without a gap.
  var modules: [WantedModule] = []

  var flow: Flow {
    Flow(
      id: id, name: name, match: match, priority: priority, onFail: onFail,
      stages: stages.map { stage in
        stage.map {
          AttachedModule(id: $0.id, name: $0.name, revision: $0.revision, run: $0.run, prototype: $0.prototype)
        }
      })
  }

  /// The modules of each stage, in the order of the stages.
  var stages: [[WantedModule]] {
    (0..<stageCount).map { stage in modules.filter { $0.stage == stage + 1 } }
  }

  var instances: [ModuleInstance] {
    modules.map { module in
      ModuleInstance(
        flow: name, stage: module.stage, name: module.name, kind: module.description.kind,
        layer: module.description.layer.rawValue, access: module.description.access.rawValue, run: module.run.rawValue,
        arguments: Dictionary(uniqueKeysWithValues: module.given), revision: module.revision)
    }
  }

  var described: FlowDescription {
    FlowDescription(name: name, match: match.description, priority: priority, onFail: onFail, modules: instances)
  }

  /// How many stages there are.
  var stageCount: Int { modules.last?.stage ?? 0 }

  /// `stage` where a module may go there: into one of the stages, or behind the last.
  func checked(stage: Int) throws(ControlError) -> Int {
    guard (1...stageCount + 1).contains(stage) else {
      throw ControlError(
        .refused,
        "there is no place for a stage \(stage): the flow has \(stageCount) stage\(stageCount == 1 ? "" : "s")",
        at: "flow '\(name)'", mend: "use 1 to \(stageCount + 1)")
    }
    return stage
  }

  /// Has a module join a stage, or with `isInserted` be the first of a new one in front of it. Where it was attached already
  /// it leaves its place. Throws where it would be the second editor of the stage.
  mutating func put(_ module: WantedModule, into stage: Int, isInserted: Bool) throws(ControlError) {
    modules.removeAll { $0.id == module.id }
    if isInserted {
      for index in modules.indices where modules[index].stage >= stage { modules[index].stage += 1 }
    } else {
      try checkEditor(module.prototype, named: module.name, at: stage)
    }
    var module = module
    module.stage = stage
    modules.insert(module, at: modules.firstIndex { $0.stage > stage } ?? modules.count)
    closeGaps()
  }

  /// Takes a module out; where it was alone in its stage, those behind it move up.
  mutating func remove(at index: Int) {
    modules.remove(at: index)
    closeGaps()
  }

  /// Numbers the stages anew, from 1.
  private mutating func closeGaps() {
    var number = 0
    var last: Int?
    for index in modules.indices {
      if modules[index].stage != last { number += 1 }
      last = modules[index].stage
      modules[index].stage = number
    }
  }

  /// Throws where a module of `description` would be a second editor of `stage`.
  func checkEditor(
    _ prototype: any ProcessingModule, named name: String, at stage: Int
  ) throws(ControlError) {
    guard prototype.access == .edit,
      let other = modules.first(where: { $0.name != name && $0.stage == stage && $0.prototype.access == .edit })
    else { return }
    throw ControlError(
      .refused, "stage \(stage) has an editor already: '\(other.name)'", at: "flow '\(self.name)', module '\(name)'",
      mend: "only one module of a stage may edit; '--insert' makes a new stage in front of it")
  }

  /// The index of the module called `instance`.
  func index(of instance: String) throws(ControlError) -> Int {
    if let index = modules.firstIndex(where: { $0.name == instance }) { return index }
    throw ControlError(
      .notFound, "flow '\(name)' has no module '\(instance)'",
      mend: Nearest.mend(for: instance, among: modules.map(\.name)) ?? "'pm list \(name)' lists them")
  }
}

/// A module as it was attached.
struct WantedModule: Sendable {
  let id: UInt32
  let name: String
  /// From 1.
  var stage: Int
  var run: AttachedModule.RunMode
  var revision = 0
  /// The arguments as written, in the order in which the module declares them.
  var given: [(key: String, value: String)]
  var prototype: any ProcessingModule

  var description: ModuleDescription { type(of: prototype).description }
}

extension ModuleDescription {
  /// How a module can run, the usual way first.
  var runs: [AttachedModule.RunMode] { needsThread ? [.thread] : [.inline, .thread] }
}
