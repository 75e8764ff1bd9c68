import Engine

/// `flow add`: makes a flow with an empty pipeline.
public struct FlowAdd: Change {
  public static let method = "flow.add"

  public var name: String
  /// In the match grammar, such as `tcp,tcp_dst=80`.
  public var match: String
  /// 0 to 65535, the higher the sooner; ``WantedFlow/defaultPriority`` where none is given.
  public var priority: Int?
  public var onFail: Flow.FailurePolicy?
  /// Whether an equal flow of this name is as good as a new one.
  public var mayExist: Bool?

  public init(
    name: String, match: String, priority: Int? = nil, onFail: Flow.FailurePolicy? = nil, mayExist: Bool? = nil
  ) {
    self.name = name
    self.match = match
    self.priority = priority
    self.onFail = onFail
    self.mayExist = mayExist
  }

  public enum CodingKeys: String, CodingKey, CaseIterable {
    case name, match, priority
    case onFail = "on_fail"
    case mayExist = "may_exist"
  }

  public struct Reply: Codable, Equatable, Sendable {
    /// False where an equal flow was there already.
    public var created: Bool
    public var flow: FlowDescription
  }
}

/// `flow replace`: gives a flow another match, and another priority or failure policy where given. Its pipeline stays.
public struct FlowReplace: Change {
  public static let method = "flow.replace"

  public var name: String
  public var match: String
  /// The present one is kept where none is given.
  public var priority: Int?
  /// The present one is kept where none is given.
  public var onFail: Flow.FailurePolicy?

  public init(name: String, match: String, priority: Int? = nil, onFail: Flow.FailurePolicy? = nil) {
    self.name = name
    self.match = match
    self.priority = priority
    self.onFail = onFail
  }

  public enum CodingKeys: String, CodingKey, CaseIterable {
    case name, match, priority
    case onFail = "on_fail"
  }

  public struct Reply: Codable, Equatable, Sendable {
    public var flow: FlowDescription
  }
}

/// `flow del`: takes a flow away with its pipeline.
public struct FlowDelete: Change {
  public static let method = "flow.del"

  public var name: String
  /// Whether it is fine that there is no such flow.
  public var ifExists: Bool?

  public init(name: String, ifExists: Bool? = nil) {
    self.name = name
    self.ifExists = ifExists
  }

  public enum CodingKeys: String, CodingKey, CaseIterable {
    case name
    case ifExists = "if_exists"
  }

  public struct Reply: Codable, Equatable, Sendable {
    public var deleted: Bool
  }
}

/// `flow list`: all flows, in the order in which they were made.
public struct FlowList: Request {
  public static let method = "flow.list"

  public init() {}

  public enum CodingKeys: CodingKey, CaseIterable {}

  public struct Reply: Codable, Equatable, Sendable {
    public var flows: [FlowDescription]
  }
}

/// `flow show`: one flow.
public struct FlowShow: Request {
  public static let method = "flow.show"

  public var name: String

  public init(name: String) { self.name = name }

  public enum CodingKeys: String, CodingKey, CaseIterable { case name }

  public struct Reply: Codable, Equatable, Sendable {
    public var flow: FlowDescription
  }
}

/// A flow as replies show it.
public struct FlowDescription: Codable, Equatable, Sendable {
  public var name: String
  /// In the canonical form of the match grammar.
  public var match: String
  public var priority: Int
  public var onFail: Flow.FailurePolicy
  public var modules: [ModuleInstance]

  public enum CodingKeys: String, CodingKey {
    case name, match, priority, modules
    case onFail = "on_fail"
  }
}

extension Flow.FailurePolicy: Codable {}
