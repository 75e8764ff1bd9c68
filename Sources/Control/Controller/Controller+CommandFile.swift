import Engine

extension Controller {
  /// Makes all changes of `file`, or none.
  @discardableResult
  public func apply(_ file: CommandFile) throws(ControlError) -> Transaction.Reply {
    try file.transaction().perform(on: self)
  }
}

extension CommandFile {
  /// The configuration that the file makes of nothing, without a daemon: what `flowos check` throws away and
  /// `flowos replay` runs.
  ///
  /// - Parameter portNamed: the index of an interface by its name, for `in_port`.
  public func configuration(
    registry: ModuleRegistry, portNamed: (String) -> UInt32?
  ) throws(ControlError) -> Configuration {
    var state = WantedState()
    try withoutActuallyEscaping(portNamed) { portNamed throws(ControlError) in
      let environment = Controller.Environment(registry: registry, portNamed: portNamed)
      _ = try transaction().apply(to: &state, in: environment)
    }
    return state.configuration
  }
}
