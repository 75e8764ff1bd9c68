/// `dump`: the commands that make the present state.
public struct Dump: Request {
  public static let method = "dump"

  public init() {}

  public enum CodingKeys: CodingKey, CaseIterable {}

  public struct Reply: Codable, Equatable, Sendable {
    /// One command a line, as `apply` takes them.
    public var commands: String
  }
}

/// `ping`: answered by a daemon that lives.
public struct Ping: Request {
  public static let method = "ping"

  public init() {}

  public enum CodingKeys: CodingKey, CaseIterable {}

  public struct Reply: Codable, Equatable, Sendable {
    public var pong: Bool
  }
}

/// `version`: the daemon's version.
public struct VersionRead: Request {
  public static let method = "version"

  public init() {}

  public enum CodingKeys: CodingKey, CaseIterable {}

  public struct Reply: Codable, Equatable, Sendable {
    public var version: String
  }
}

/// `shutdown`: ends the daemon in good order.
public struct Shutdown: Request {
  public static let method = "shutdown"

  public init() {}

  public enum CodingKeys: CodingKey, CaseIterable {}

  public struct Reply: Codable, Equatable, Sendable {
    public var stopping: Bool
  }
}
