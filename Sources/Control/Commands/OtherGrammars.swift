import ArgumentParser

public struct ConnectionListGrammar: Grammar {
  @Argument(help: "Only the connections of this flow.")
  public var flow: String?

  @Option(help: "List so many at the most; \(ConnectionList.defaultLimit) where none is given.")
  public var limit: Int?

  public init() {}

  public func request() -> ConnectionList { ConnectionList(flow: flow, limit: limit) }
}

public struct StatisticsGrammar: Grammar {
  @Argument(help: "Only this flow and its modules.")
  public var flow: String?

  public init() {}

  public func request() -> StatisticsRead { StatisticsRead(flow: flow) }
}
