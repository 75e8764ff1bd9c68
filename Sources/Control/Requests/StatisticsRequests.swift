/// `stats`: what was counted since the daemon started, or since the flow or module was made.
public struct StatisticsRead: Request {
  public static let method = "stats"

  /// Only this flow and its modules, where given.
  public var flow: String?

  public init(flow: String? = nil) { self.flow = flow }

  public enum CodingKeys: String, CodingKey, CaseIterable { case flow }

  public struct Reply: Codable, Equatable, Sendable {
    /// Absent where one flow was asked for.
    public var engine: EngineTotals?
    public var flows: [FlowTotals]
  }
}

/// The engine's totals over all workers.
public struct EngineTotals: Codable, Equatable, Sendable {
  /// Connections in the table now.
  public var connections: Int
  /// Octets of packet memory in use.
  public var memoryInUse: Int
  /// Octets of packet memory reserved from the system.
  public var memoryReserved: Int
  /// By the names of `EngineCounters`.
  public var counters: [String: UInt64]

  public enum CodingKeys: String, CodingKey {
    case connections, counters
    case memoryInUse = "memory_in_use"
    case memoryReserved = "memory_reserved"
  }
}

/// One flow's totals.
public struct FlowTotals: Codable, Equatable, Sendable {
  public var name: String
  /// By the names of `FlowCounters`.
  public var counters: [String: UInt64]
  public var modules: [ModuleTotals]
}

/// One attached module's totals.
public struct ModuleTotals: Codable, Equatable, Sendable {
  public var name: String
  public var kind: String
  /// By the names of `ModuleCounters`.
  public var counters: [String: UInt64]
  /// The module's own, by the names that it declares.
  public var own: [String: UInt64]
}
