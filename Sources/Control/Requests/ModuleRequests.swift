/// `pm types`: the kinds of modules that the daemon has.
public struct ModuleTypes: Request {
  public static let method = "pm.types"

  /// Only this kind, where given.
  public var kind: String?

  public init(kind: String? = nil) { self.kind = kind }

  public enum CodingKeys: String, CodingKey, CaseIterable { case kind }

  public struct Reply: Codable, Equatable, Sendable {
    public var kinds: [ModuleKind]
  }
}

/// A kind of module as `pm types` shows it.
public struct ModuleKind: Codable, Equatable, Sendable {
  /// One declared parameter.
  public struct Parameter: Codable, Equatable, Sendable {
    public var name: String
    /// `bytes`, `integer MIN..MAX`, `boolean`, `path` or `text`.
    public var type: String
    /// Absent where the parameter is required.
    public var defaultValue: String?
    public var unit: String
    public var help: String

    public enum CodingKeys: String, CodingKey {
      case name, type, unit, help
      case defaultValue = "default"
    }
  }

  public var kind: String
  public var layer: String
  public var access: String
  /// How it can run, the usual way first: `inline`, `thread`.
  public var run: [String]
  public var peer: Bool
  public var holdTimeMilliseconds: Int64
  public var holdLimitOctets: Int
  public var parameters: [Parameter]
  public var counters: [String]
  public var help: String

  public enum CodingKeys: String, CodingKey {
    case kind, layer, access, run, peer, parameters, counters, help
    case holdTimeMilliseconds = "hold_time_ms"
    case holdLimitOctets = "hold_limit_octets"
  }
}

/// `pm attach`: puts a module into a flow's pipeline.
public struct ModuleAttach: Change {
  public static let method = "pm.attach"

  public var flow: String
  public var kind: String
  /// Values as a user writes them, escapes included.
  public var arguments: [String: String]?
  /// The instance's name; the kind, or the kind and a number, where none is given.
  public var name: String?
  /// The stage that the module joins, from 1; one more than there are makes a new last one, as does none.
  public var stage: Int?
  /// Whether the module gets a new stage in front of `stage`.
  public var insert: Bool?
  /// `inline` or `thread`; `inline` where none is given and the module can do with it.
  public var run: String?

  public init(
    flow: String, kind: String, arguments: [String: String]? = nil, name: String? = nil, stage: Int? = nil,
    insert: Bool? = nil, run: String? = nil
  ) {
    self.flow = flow
    self.kind = kind
    self.arguments = arguments
    self.name = name
    self.stage = stage
    self.insert = insert
    self.run = run
  }

  public enum CodingKeys: String, CodingKey, CaseIterable { case flow, kind, arguments, name, stage, insert, run }

  public typealias Reply = AttachedInstance
}

/// What `pm attach` answers.
public struct AttachedInstance: Codable, Equatable, Sendable {
  public var flow: String
  public var name: String
  public var stage: Int
}

/// `pm detach`: takes a module out of a flow's pipeline.
public struct ModuleDetach: Change {
  public static let method = "pm.detach"

  public var flow: String
  public var name: String
  /// Whether it is fine that there is no such module, or no such flow.
  public var ifExists: Bool?

  public init(flow: String, name: String, ifExists: Bool? = nil) {
    self.flow = flow
    self.name = name
    self.ifExists = ifExists
  }

  public enum CodingKeys: String, CodingKey, CaseIterable {
    case flow, name
    case ifExists = "if_exists"
  }

  public struct Reply: Codable, Equatable, Sendable {
    public var detached: Bool
  }
}

/// `pm move`: puts an attached module into another stage. It stays what it is; on connections that run it begins anew
/// where the other stage stands.
public struct ModuleMove: Change {
  public static let method = "pm.move"

  public var flow: String
  public var name: String
  /// The stage that it joins, as they are numbered before the move; one more than there are makes a new last one.
  public var stage: Int
  /// Whether it gets a new stage in front of `stage`.
  public var insert: Bool?

  public init(flow: String, name: String, stage: Int, insert: Bool? = nil) {
    self.flow = flow
    self.name = name
    self.stage = stage
    self.insert = insert
  }

  public enum CodingKeys: String, CodingKey, CaseIterable { case flow, name, stage, insert }

  public struct Reply: Codable, Equatable, Sendable {
    /// Its stage after the move; a stage that it was the last to leave is gone.
    public var stage: Int
  }
}

/// `pm set`: gives an attached module other arguments; those not given stay.
public struct ModuleSet: Change {
  public static let method = "pm.set"

  public var flow: String
  public var name: String
  public var arguments: [String: String]

  public init(flow: String, name: String, arguments: [String: String]) {
    self.flow = flow
    self.name = name
    self.arguments = arguments
  }

  public enum CodingKeys: String, CodingKey, CaseIterable { case flow, name, arguments }

  public struct Reply: Codable, Equatable, Sendable {
    /// Goes up with every `pm set`.
    public var revision: Int
  }
}

/// `pm list`: the attached modules, flow by flow in the order of their stages, with what they have counted.
public struct ModuleList: Request {
  public static let method = "pm.list"

  /// Only this flow's, where given.
  public var flow: String?

  public init(flow: String? = nil) { self.flow = flow }

  public enum CodingKeys: String, CodingKey, CaseIterable { case flow }

  public struct Reply: Codable, Equatable, Sendable {
    public var modules: [ModuleInstance]
  }
}

/// An attached module as replies show it.
public struct ModuleInstance: Codable, Equatable, Sendable {
  public var flow: String
  /// From 1.
  public var stage: Int
  public var name: String
  public var kind: String
  public var layer: String
  public var access: String
  public var run: String
  /// The arguments that were given, as they were written; defaults are not among them.
  public var arguments: [String: String]
  public var revision: Int
  /// By the names of `ModuleCounters`; in the reply to `pm list` only.
  public var counters: [String: UInt64]?
  /// Octets that it holds now, all connections together; in the reply to `pm list` only.
  public var octetsHeld: Int?
  /// `working`; or `failed`, of a module of the layer `ip` that sees no more of its flow until it is set anew; in the reply to
  /// `pm list` only.
  public var state: String?
  /// Why it has failed.
  public var reason: String?

  public enum CodingKeys: String, CodingKey {
    case flow, stage, name, kind, layer, access, run, arguments, revision, counters, state, reason
    case octetsHeld = "octets_held"
  }
}
