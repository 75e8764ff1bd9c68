import Engine

extension ConnectionList {
  public func perform(on controller: Controller) throws(ControlError) -> Reply {
    let limit = limit ?? Self.defaultLimit
    guard (1...Self.maximumLimit).contains(limit) else {
      throw ControlError(.refused, "limit \(limit) is out of bounds", mend: "use 1 to \(Self.maximumLimit)")
    }
    let state = controller.state
    var id: UInt32?
    if let flow { id = state.flows[try state.index(of: flow)].id }
    // One more than is asked for tells whether there are more.
    let found = controller.dataPlane.connections(flow: id, limit: limit + 1)
    let names = Dictionary(uniqueKeysWithValues: state.flows.map { ($0.id, $0.name) })
    return Reply(
      connections: found.prefix(limit).map { ConnectionDescription($0, flowNames: names) },
      truncated: found.count > limit)
  }
}

extension ConnectionShow {
  public func perform(on controller: Controller) throws(ControlError) -> Reply {
    guard let info = controller.dataPlane.connection(id) else { throw .noConnection(id) }
    let state = controller.state
    let attached = state.attached
    return Reply(
      connection: ConnectionDescription(
        info, flowNames: Dictionary(uniqueKeysWithValues: state.flows.map { ($0.id, $0.name) })),
      modules: info.modules.compactMap { ModulePosition($0, attached[$0.id]) })
  }
}

extension ConnectionKill {
  public func perform(on controller: Controller) throws(ControlError) -> Reply {
    guard controller.dataPlane.kill(connection: id) else {
      guard controller.dataPlane.connection(id) == nil else {
        throw ControlError(
          .refused, "connection \(id) is offloaded: the kernel forwards it alone",
          mend: "'conntrack -D' and a firewall rule end it, or either end")
      }
      throw .noConnection(id)
    }
    return Reply(killed: true)
  }
}

extension ControlError {
  fileprivate static func noConnection(_ id: UInt64) -> ControlError {
    ControlError(.notFound, "there is no connection \(id)", mend: "'conn list' lists them")
  }
}

extension ModulePosition {
  /// Nil where the module has been detached and has nothing more to do here: then only the connection remembers it.
  fileprivate init?(_ module: ConnectionInfo.Module, _ attached: ModuleInstance?) {
    // The engine writes the reason behind the state.
    let words = module.state.split(separator: ": ", maxSplits: 1).map(String.init)
    var state = words[0]
    if attached == nil {
      guard state == "working" || state == "retiring" else { return nil }
      // It goes as soon as the connection can take what is there instead.
      state = "retiring"
    }
    let isAtWork = ["working", "retiring", "ended"].contains(state)
    let isPlaced = module.head != nil && (isAtWork || module.packets != nil)
    self.init(
      direction: module.direction.rawValue, peer: module.isPeer, flow: attached?.flow, stage: attached?.stage,
      name: attached?.name, kind: attached?.kind, layer: attached?.layer, state: state,
      reason: words.count > 1 ? words[1] : nil, packets: module.packets, head: isPlaced ? module.head : nil,
      tail: isPlaced ? module.tail : nil, octetsHeld: isPlaced ? module.held : nil,
      octetsReleased: isPlaced ? module.released : nil)
  }
}

extension ConnectionDescription {
  fileprivate init(_ info: ConnectionInfo, flowNames: [UInt32: String]) {
    self.init(
      id: info.id, clientAddress: String(describing: info.clientAddress), clientPort: info.clientPort,
      serverAddress: String(describing: info.serverAddress), serverPort: info.serverPort, state: info.state,
      isEdited: info.isEdited, ageMilliseconds: info.age / .milliseconds(1),
      idleMilliseconds: info.idle / .milliseconds(1),
      toServer: Direction(info.toServer, flowNames: flowNames),
      toClient: Direction(info.toClient, flowNames: flowNames))
  }
}

extension ConnectionDescription.Direction {
  fileprivate init(_ direction: ConnectionInfo.Direction, flowNames: [UInt32: String]) {
    self.init(
      flow: direction.flow.flatMap { flowNames[$0] }, octetsIn: direction.octetsIn, octetsOut: direction.octetsOut,
      octetsHeld: direction.held, octetsUnacknowledged: direction.unacknowledged, shift: direction.shift,
      mapEntries: direction.mapEntries)
  }
}
