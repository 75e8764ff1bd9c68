/// A module of a flow that takes no part in an association, for it is written to read from a stream.
struct Bystander {
  /// ``AttachedModule/id``
  let id: UInt32
  /// The direction whose flow it is attached to.
  let owner: Direction
  private let isOfPeer: Bool
  private let tally: ModuleTally

  /// Why it takes none.
  private static var reason: String { "it reads from a stream (run), and there is none in UDP" }

  init(_ attached: AttachedModule, owner: Direction, tally: ModuleTally) {
    id = attached.id
    self.owner = owner
    isOfPeer = attached.description.peer
    self.tally = tally
  }

  /// Counts a datagram of `direction` where it would have been its own.
  func pass(_ direction: Direction) {
    if owner == direction || isOfPeer { tally.common.unseen += 1 }
  }

  /// Tells of it, once for each module that is attached.
  func report(connection: UInt64, _ environment: inout Environment) {
    guard !tally.isSkippingTold else { return }
    tally.isSkippingTold = true
    environment.output.add(
      ModuleEvent(
        time: environment.now, module: id, connection: connection,
        content: ModuleEvent.Content(ModuleEvent.skipped, ["reason": Self.reason])))
  }

  var info: ConnectionInfo.Module {
    ConnectionInfo.Module(
      id: id, direction: ConnectionIdentity.Direction(owner), isPeer: false,
      state: "skipped: \(Self.reason)")
  }
}
