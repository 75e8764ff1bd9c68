import ArgumentParser
import Engine

public struct FlowAddGrammar: ChangeGrammar {
  public static let words = ["flow", "add"]

  @Argument(help: "The flow's name.")
  public var name: String

  @Argument(help: "Which packets belong to it, such as 'tcp,tcp_dst=80'.")
  public var match: String

  @Option(help: "0 to 65535; the highest matching flow gets a packet. 32768 where none is given.")
  public var priority: Int?

  @Option(
    help: """
      What becomes of a connection whose module fails: its bytes go on unedited, its packets are dropped, or both ends \
      get a reset. 'pass' where none is given.
      """)
  public var onFail: Flow.FailurePolicy?

  @Flag(help: "Accept an equal flow of this name that is there already.")
  public var mayExist = false

  public init() {}

  public func request() -> FlowAdd {
    FlowAdd(name: name, match: match, priority: priority, onFail: onFail, mayExist: mayExist ? true : nil)
  }
}

public struct FlowReplaceGrammar: ChangeGrammar {
  public static let words = ["flow", "replace"]

  @Argument(help: "The flow's name.")
  public var name: String

  @Argument(help: "Which packets belong to it from now on.")
  public var match: String

  @Option(help: "0 to 65535. The present one is kept where none is given.")
  public var priority: Int?

  @Option(help: "What becomes of a connection whose module fails. The present one is kept where none is given.")
  public var onFail: Flow.FailurePolicy?

  public init() {}

  public func request() -> FlowReplace {
    FlowReplace(name: name, match: match, priority: priority, onFail: onFail)
  }
}

public struct FlowDeleteGrammar: ChangeGrammar {
  public static let words = ["flow", "del"]

  @Argument(help: "The flow's name.")
  public var name: String

  @Flag(help: "Say nothing where there is no such flow.")
  public var ifExists = false

  public init() {}

  public func request() -> FlowDelete { FlowDelete(name: name, ifExists: ifExists ? true : nil) }
}

public struct FlowShowGrammar: Grammar {
  @Argument(help: "The flow's name.")
  public var name: String

  public init() {}

  public func request() -> FlowShow { FlowShow(name: name) }
}

extension Flow.FailurePolicy: ExpressibleByArgument {}
