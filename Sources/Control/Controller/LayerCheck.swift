import Engine

extension ModuleDescription {
  /// Throws where no packet that `match` matches has the bytes that the module works on.
  func checkFits(_ match: Match, of flow: String, module: String) throws(ControlError) {
    switch layer {
    case .app:
      guard let number = match.ipProtocol, number != 6 else { return }
      throw ControlError(
        .refused, "the module works on TCP streams, and there can be none in the match '\(match)'",
        at: "flow '\(flow)', module '\(module)'", mend: "match tcp, tcp6, ip_proto=6 or any")
    }
  }
}
