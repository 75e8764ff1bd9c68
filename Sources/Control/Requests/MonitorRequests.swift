/// `monitor`: events of modules as they happen, as notifications that follow the reply on the same connection.
public struct Monitor: Request {
  public static let method = "monitor"

  /// Only those of this flow's modules, where given.
  public var flow: String?
  /// Only those of these names, where given.
  public var types: [String]?

  public init(flow: String? = nil, types: [String]? = nil) {
    self.flow = flow
    self.types = types
  }

  public enum CodingKeys: String, CodingKey, CaseIterable { case flow, types }

  public struct Reply: Codable, Equatable, Sendable {
    public var monitoring: Bool
  }
}

/// The parameters of the notification `event`.
public struct EventDescription: Codable, Equatable, Sendable {
  /// When it happened, in UTC, as RFC 3339 writes it.
  public var time: String
  /// The module that tells it and the flow that the module is attached to; absent where it has been detached since.
  public var flow: String?
  public var module: String?
  /// The connection that it is about, as `conn list` shows it; absent where it is about none.
  public var connection: UInt64?
  /// Its name: `failed`, or one that the module gives.
  public var event: String
  public var fields: [String: String]
}

/// The parameters of the notification `lost`.
public struct EventLoss: Codable, Equatable, Sendable {
  /// Events since the last notification that found no room. Some may not have been asked for.
  public var lost: Int
}

/// What a client that monitors is told.
public enum MonitorReport: Sendable {
  case event(EventDescription)
  case loss(EventLoss)
}
