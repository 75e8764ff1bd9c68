/// Which connection the bytes of a ``Window`` belong to, and which way they go.
///
/// Of a window on a packet (layer `ip`) the client is who sent it.
public struct ConnectionIdentity: Sendable, Equatable {
  public enum Direction: String, Sendable {
    case toServer = "to-server"
    case toClient = "to-client"
  }

  /// As `flowctl conn list` shows it; 0 where there is no connection.
  public let id: UInt64
  public let clientAddress: IPAddress
  public let clientPort: UInt16
  public let serverAddress: IPAddress
  public let serverPort: UInt16
  public let direction: Direction

  public init(
    id: UInt64, clientAddress: IPAddress, clientPort: UInt16, serverAddress: IPAddress, serverPort: UInt16,
    direction: Direction
  ) {
    self.id = id
    self.clientAddress = clientAddress
    self.clientPort = clientPort
    self.serverAddress = serverAddress
    self.serverPort = serverPort
    self.direction = direction
  }
}

extension ConnectionIdentity.Direction {
  init(_ direction: Direction) { self = direction == .toServer ? .toServer : .toClient }
}
