import Engine

extension ModuleDescription {
  /// Throws where no packet that `match` matches has the bytes that the module works on.
  func checkFits(_ match: Match, of flow: String, module: String) throws(ControlError) {
    let wanted: (numbers: Set<UInt8>, what: String)
    switch layer {
    case .ip: return
    case .tcp: wanted = ([6], "the payload of TCP packets")
    case .app: wanted = ([6, 17], "TCP streams and UDP datagrams")
    }
    guard let number = match.ipProtocol, !wanted.numbers.contains(number) else { return }
    throw ControlError(
      .refused, "the module works on \(wanted.what), and there can be none in the match '\(match)'",
      at: "flow '\(flow)', module '\(module)'", mend: "match tcp, tcp6, ip_proto=6 or any")
  }
}
