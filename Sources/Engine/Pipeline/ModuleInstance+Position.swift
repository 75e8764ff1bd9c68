/// What `flowctl conn show` tells of a module.
extension ModuleInstance {
  /// Where it stands as a member of a stage of a stream.
  func position(
    _ member: Pipeline.Member, in stage: Pipeline.Stage, _ direction: Direction, isEnded: Bool
  ) -> ConnectionInfo.Module {
    let held = UInt64(stage.held(by: member))
    // An editor may hold more than has come to it, for it has put octets in.
    return ConnectionInfo.Module(
      id: id, direction: ConnectionIdentity.Direction(direction), isPeer: member.isPeer,
      head: stage.came - min(held, stage.came), tail: stage.came, held: held, released: stage.released(by: member),
      state: stateName(isEnded: isEnded))
  }

  /// What has come to it, of one that gets packets or datagrams one by one.
  func position(_ direction: Direction, isPeer: Bool, isEnded: Bool) -> ConnectionInfo.Module {
    let traffic = traffic(isPeer: isPeer)
    // A connection that begins anew between the same ends takes its modules over, with what their threads have of the old one.
    let held = min(UInt64(packets?.held(isPeer: isPeer) ?? 0), traffic.arrived)
    return ConnectionInfo.Module(
      id: id, direction: ConnectionIdentity.Direction(direction), isPeer: isPeer, head: traffic.arrived - held,
      tail: traffic.arrived, held: held, released: traffic.released, packets: traffic.packets,
      state: stateName(isEnded: isEnded))
  }

  /// What is told of one that takes no more part in the streams of a connection.
  func remains(isEnded: Bool) -> ConnectionInfo.Module {
    ConnectionInfo.Module(
      id: id, direction: ConnectionIdentity.Direction(owner), isPeer: false, state: stateName(isEnded: isEnded))
  }

  /// - Parameter isEnded: whether the connection has come to its end.
  private func stateName(isEnded: Bool) -> String {
    switch state {
    case .failed(let reason): "failed: \(reason)"
    case _ where isEnded: "ended"
    case .working: "working"
    case .retiring: "retiring"
    case .offloaded: "offloaded"
    }
  }
}

extension [ModuleInstance] {
  /// Where the members of a pipeline's stages stand.
  func positions(in pipeline: Pipeline, _ direction: Direction, isEnded: Bool) -> [ConnectionInfo.Module] {
    pipeline.stages.flatMap { stage in
      stage.members.map { self[$0.instance].position($0, in: stage, direction, isEnded: isEnded) }
    }
  }

  /// What has come to `members`, which get packets or datagrams one by one.
  func positions(of members: [Pipeline.Member], _ direction: Direction, isEnded: Bool) -> [ConnectionInfo.Module] {
    members.map { self[$0.instance].position(direction, isPeer: $0.isPeer, isEnded: isEnded) }
  }
}
