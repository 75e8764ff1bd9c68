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
