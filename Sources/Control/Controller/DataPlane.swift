import Engine

/// What the control side asks of whatever moves the packets: the daemon's workers, a replay, or a test's fake.
///
/// Called on the control thread alone.
public protocol DataPlane {
  /// Puts `configuration` in the place of the one before, between two batches of packets. It has been checked.
  func apply(_ configuration: Configuration)

  /// What all engines have counted together.
  func statistics() -> Statistics

  /// At most `limit` connections; with `flow`, only those of which a direction belongs to the flow of that
  /// ``Engine/Flow/id``.
  func connections(flow: UInt32?, limit: Int) -> [ConnectionInfo]

  /// The connection or association of that ``Engine/ConnectionInfo/id``, or nil where there is none.
  func connection(_ id: UInt64) -> ConnectionInfo?

  /// Ends a connection or association for both ends, and says whether there is one of that ``Engine/ConnectionInfo/id`` that can be: not one
  /// that is offloaded.
  func kill(connection id: UInt64) -> Bool

  /// Octets that modules hold now, all connections together, by ``Engine/AttachedModule/id``.
  func octetsHeld() -> [UInt32: Int]

  /// What modules tell, as it comes.
  var events: EventFeed { get }

  /// The index of the interface called `name`, or nil where there is none.
  func portIndex(named name: String) -> UInt32?

  /// Begins an orderly end. Returns at once, so that the client still gets its answer.
  func shutdown()
}
