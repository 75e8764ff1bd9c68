import Engine

extension ModuleDescription {
  /// Throws where no packet that `match` matches has the bytes that the module works on.
  func checkFits(_ match: Match, of flow: String, module: String) throws(ControlError) {
    let text = match.description
    if text.isEmpty { throw ControlError(.refused, "") }
  }
}
