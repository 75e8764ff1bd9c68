/// One command as it travels: the parameters of a JSON-RPC method, and what it answers.
///
/// Both binaries share these values: `flowctl` encodes them, the daemon decodes and performs them. Keys are exactly the
/// `CodingKeys`; any other key is an error, so that a typing mistake never passes for a default.
public protocol Request: Codable, Sendable {
  associatedtype Reply: Codable & Sendable
  associatedtype CodingKeys: CodingKey & CaseIterable

  /// The JSON-RPC method, as in `flow.add`.
  static var method: String { get }

  /// Does what is asked; the control thread's work.
  func perform(on controller: Controller) throws(ControlError) -> Reply
}

/// A request that changes the wanted state, and so may be a step of a ``Transaction``.
public protocol Change: Request {
  /// Makes the change in `state`, or throws and leaves `state` to be thrown away.
  func apply(to state: inout WantedState, in environment: Controller.Environment) throws(ControlError) -> Reply
}

extension Change {
  public func perform(on controller: Controller) throws(ControlError) -> Reply {
    try controller.commit { state, environment throws(ControlError) in try apply(to: &state, in: environment) }
  }
}

/// The methods by name.
enum Methods {
  static let changes: [any Change.Type] = [
    FlowAdd.self, FlowReplace.self, FlowDelete.self, ModuleAttach.self, ModuleDetach.self, ModuleMove.self,
    ModuleSet.self,
  ]

  static let all: [any Request.Type] =
    changes + [
      FlowList.self, FlowShow.self, ModuleTypes.self, ModuleList.self, ConnectionList.self, ConnectionShow.self,
      ConnectionKill.self, StatisticsRead.self, Monitor.self, Transaction.self, Dump.self, Ping.self, VersionRead.self,
      Shutdown.self,
    ]

  static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.method, $0) })
  static let changesByName = Dictionary(uniqueKeysWithValues: changes.map { ($0.method, $0) })
}
