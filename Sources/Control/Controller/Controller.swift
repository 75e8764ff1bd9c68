import Engine

/// The control side: holds the wanted state, answers requests, and hands every new configuration to the data plane.
///
/// Belongs to one thread, the control thread. A change is checked to its end before anything is changed.
public final class Controller {
  /// What checking a change needs to know beside the state.
  public struct Environment {
    let registry: ModuleRegistry
    let portNamed: (String) -> UInt32?
  }

  let registry: ModuleRegistry
  let dataPlane: any DataPlane
  let version: String
  private(set) var state = WantedState()

  public init(registry: ModuleRegistry, dataPlane: any DataPlane, version: String) {
    self.registry = registry
    self.dataPlane = dataPlane
    self.version = version
  }

  /// Runs `change` on a copy of the state; where it succeeds, the copy becomes the state and goes to the data plane.
  ///
  /// - Parameter isTrial: whether the copy is thrown away in any case.
  func commit<Reply>(
    asTrial isTrial: Bool = false,
    _ change: (inout WantedState, Environment) throws(ControlError) -> Reply
  ) throws(ControlError) -> Reply {
    var next = state
    let reply = try change(&next, Environment(registry: registry, portNamed: dataPlane.portIndex(named:)))
    if !isTrial {
      state = next
      dataPlane.apply(next.configuration)
    }
    return reply
  }
}
