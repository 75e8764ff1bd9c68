/// `conn list`: the connections in the table now.
public struct ConnectionList: Request {
  public static let method = "conn.list"

  /// How many are listed where no limit is given.
  public static let defaultLimit = 1000
  /// The most that one request may ask for.
  public static let maximumLimit = 65_536

  /// Only those with a direction in this flow, where given.
  public var flow: String?
  /// 1 to ``maximumLimit``.
  public var limit: Int?

  public init(flow: String? = nil, limit: Int? = nil) {
    self.flow = flow
    self.limit = limit
  }

  public enum CodingKeys: String, CodingKey, CaseIterable { case flow, limit }

  public struct Reply: Codable, Equatable, Sendable {
    public var connections: [ConnectionDescription]
    /// Whether there are more than were listed.
    public var truncated: Bool
  }
}

/// `conn show`: one connection and its modules.
public struct ConnectionShow: Request {
  public static let method = "conn.show"

  /// As `conn list` shows it.
  public var id: UInt64

  public init(id: UInt64) { self.id = id }

  public enum CodingKeys: String, CodingKey, CaseIterable { case id }

  public struct Reply: Codable, Equatable, Sendable {
    public var connection: ConnectionDescription
    /// Those of the direction to the server first, each direction in the order of the stages; then those that take no more
    /// part.
    public var modules: [ModulePosition]
  }
}

/// Where a module stands in one direction of a connection.
public struct ModulePosition: Codable, Equatable, Sendable {
  /// The direction that it works on: `to-server` or `to-client`.
  public var direction: String
  /// Whether it works on that direction as its peer.
  public var peer: Bool
  /// The flow that it is attached to, its stage there, its name and its kind; absent where it has been detached since.
  public var flow: String?
  public var stage: Int?
  public var name: String?
  public var kind: String?
  /// `ip`, `tcp` or `app`; absent likewise.
  public var layer: String?
  /// `working`, `retiring`, `offloaded`, `skipped` (it can take no part), `ended` (with the connection) or `failed`.
  public var state: String
  /// Why it has failed, or is skipped.
  public var reason: String?
  /// Packets or datagrams that have come to it, where it gets them one by one; absent of a stream. Of the layer `ip` those of all
  /// connections of its flow, as are the octets.
  public var packets: UInt64?
  /// How far it is in the octets that have come to it since its stage is there; absent where it takes no more part in a stream.
  public var head: UInt64?
  /// How many those are.
  public var tail: UInt64?
  /// Octets that it holds, as they are now: those from its head to its tail with its edits.
  public var octetsHeld: UInt64?
  /// Octets that it has let go, as they have left it.
  public var octetsReleased: UInt64?

  public enum CodingKeys: String, CodingKey {
    case direction, peer, flow, stage, name, kind, layer, state, reason, packets, head, tail
    case octetsHeld = "octets_held"
    case octetsReleased = "octets_released"
  }
}

/// `conn kill`: resets a connection at both ends.
public struct ConnectionKill: Request {
  public static let method = "conn.kill"

  /// As `conn list` shows it.
  public var id: UInt64

  public init(id: UInt64) { self.id = id }

  public enum CodingKeys: String, CodingKey, CaseIterable { case id }

  public struct Reply: Codable, Equatable, Sendable {
    public var killed: Bool
  }
}

/// A connection as `conn list` shows it.
public struct ConnectionDescription: Codable, Equatable, Sendable {
  /// One of its two directions.
  public struct Direction: Codable, Equatable, Sendable {
    /// The name of the flow that it belongs to.
    public var flow: String?
    public var octetsIn: UInt64
    public var octetsOut: UInt64
    public var octetsHeld: Int
    public var octetsUnacknowledged: Int
    /// How far the sequence numbers of the two sides stand apart, in octets.
    public var shift: Int
    /// Entries of the sequence map.
    public var mapEntries: Int

    public enum CodingKeys: String, CodingKey {
      case flow, shift
      case octetsIn = "octets_in"
      case octetsOut = "octets_out"
      case octetsHeld = "octets_held"
      case octetsUnacknowledged = "octets_unacknowledged"
      case mapEntries = "map_entries"
    }
  }

  public var id: UInt64
  public var clientAddress: String
  public var clientPort: UInt16
  public var serverAddress: String
  public var serverPort: UInt16
  public var state: String
  public var isEdited: Bool
  public var ageMilliseconds: Int64
  public var idleMilliseconds: Int64
  public var toServer: Direction
  public var toClient: Direction

  public enum CodingKeys: String, CodingKey {
    case id, state
    case clientAddress = "client_address"
    case clientPort = "client_port"
    case serverAddress = "server_address"
    case serverPort = "server_port"
    case isEdited = "edited"
    case ageMilliseconds = "age_ms"
    case idleMilliseconds = "idle_ms"
    case toServer = "to_server"
    case toClient = "to_client"
  }
}
