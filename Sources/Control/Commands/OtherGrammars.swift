import ArgumentParser

public struct ConnectionListGrammar: Grammar {
  @Argument(help: "Only the connections of this flow.")
  public var flow: String?

  @Option(help: "List so many at the most; \(ConnectionList.defaultLimit) where none is given.")
  public var limit: Int?

  public init() {}

  public func request() -> ConnectionList { ConnectionList(flow: flow, limit: limit) }
}

public struct ConnectionShowGrammar: Grammar {
  @Argument(help: "The connection's number, as 'conn list' shows it.")
  public var id: UInt64

  public init() {}

  public func request() -> ConnectionShow { ConnectionShow(id: id) }
}

public struct ConnectionKillGrammar: Grammar {
  @Argument(help: "The connection's number, as 'conn list' shows it.")
  public var id: UInt64

  public init() {}

  public func request() -> ConnectionKill { ConnectionKill(id: id) }
}

public struct MonitorGrammar: Grammar {
  @Argument(help: "Only the events of this flow's modules.")
  public var flow: String?

  @Option(
    name: [.customShort("e"), .customLong("events")],
    help: ArgumentHelp("Only events of these names, joined by commas.", valueName: "types"))
  public var types: String?

  public init() {}

  public func request() -> Monitor {
    Monitor(flow: flow, types: types?.split(separator: ",", omittingEmptySubsequences: false).map(String.init))
  }
}

public struct StatisticsGrammar: Grammar {
  @Argument(help: "Only this flow and its modules.")
  public var flow: String?

  public init() {}

  public func request() -> StatisticsRead { StatisticsRead(flow: flow) }
}
