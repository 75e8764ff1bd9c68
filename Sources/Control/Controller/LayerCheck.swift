import Engine

extension ModuleDescription {
  /// Throws where no packet that `match` matches has the bytes that the module works on, or none at all has: what is written as
  /// ``ProcessingModule/run(_:)`` reads from a stream, and from one alone.
  func checkFits(_ match: Match, of flow: String, module: String) throws(ControlError) {
    let place = "flow '\(flow)', module '\(module)'"
    guard !needsThread || !peer else {
      throw ControlError(
        .refused, "the module reads from one stream (run(_:)), and asks for the peer direction too", at: place,
        mend: "it has to be written as process(_:) and processPeer(_:), without 'needsThread'; "
          + "with '--run thread' they may wait too")
    }
    let wanted: (numbers: Set<UInt8>, what: String, mend: String)
    switch layer {
    case .ip where needsThread, .tcp where needsThread:
      throw ControlError(
        .refused, "the module reads from a stream (run(_:)), and at the layer '\(layer)' there are packets", at: place,
        mend: "it has to be written as process(_:), without 'needsThread'; with '--run thread' that may wait too")
    case .ip: return
    case .tcp: wanted = ([6], "TCP packets", "match tcp, tcp6, ip_proto=6 or any")
    case .app where needsThread:
      wanted = (
        [6], "TCP streams",
        "match tcp, tcp6, ip_proto=6 or any; a module written as process(_:) works on datagrams too"
      )
    case .app: wanted = ([6, 17], "TCP streams and UDP datagrams", "match tcp, tcp6, udp, udp6 or any")
    }
    guard let number = match.ipProtocol, !wanted.numbers.contains(number) else { return }
    throw ControlError(
      .refused, "the module works on \(wanted.what), and there can be none in the match '\(match)'",
      at: place, mend: wanted.mend)
  }
}

extension ProcessingModule {
  /// Throws where no packet that `match` matches is of the version of IP that the module works on.
  func checkVersion(_ match: Match, of flow: String, module: String) throws(ControlError) {
    guard let version = ipVersion, let matched = match.ipVersion, version != matched else { return }
    throw ControlError(
      .refused,
      "by its arguments the module works on IPv\(version), and the match '\(match)' takes IPv\(matched) alone",
      at: "flow '\(flow)', module '\(module)'",
      mend: "give it arguments of IPv\(matched), or match \(version == 4 ? "ip" : "ipv6") or any")
  }
}
