import Engine

extension ModuleDescription {
  /// Throws where no packet that `match` matches has the bytes that the module works on.
  func checkFits(_ match: Match, of flow: String, module: String) throws(ControlError) {
    let wanted: (numbers: Set<UInt8>, what: String, mend: String)
    switch layer {
    case .ip: return
    case .tcp: wanted = ([6], "TCP packets", "match tcp, tcp6, ip_proto=6 or any")
    case .app: wanted = ([6, 17], "TCP streams and UDP datagrams", "match tcp, tcp6, udp, udp6 or any")
    }
    guard let number = match.ipProtocol, !wanted.numbers.contains(number) else { return }
    throw ControlError(
      .refused, "the module works on \(wanted.what), and there can be none in the match '\(match)'",
      at: "flow '\(flow)', module '\(module)'", mend: wanted.mend)
  }
}
