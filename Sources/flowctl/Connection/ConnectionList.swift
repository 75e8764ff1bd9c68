import ArgumentParser
import Control

/// `flowctl conn list`
struct ConnectionListCommand: GrammarCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "Lists the connections in the table.")

  @OptionGroup var words: ConnectionListGrammar
  @OptionGroup var options: GlobalOptions

  func text(_ reply: ConnectionList.Reply) -> String {
    var table = Table(
      .number("ID"), .text("CLIENT"), .text("SERVER"), .text("STATE"), .text("FLOWS"), .number("SENT"),
      .number("RECEIVED"), .number("HELD"), .number("SHIFT"), .number("AGE"))
    table.rows = reply.connections.map { connection in
      let (up, down) = (connection.toServer, connection.toClient)
      return [
        String(connection.id), connection.client, connection.server,
        connection.state + (connection.isEdited ? " edited" : ""),
        "\(up.flow ?? "-")/\(down.flow ?? "-")", Units.octets(up.octetsIn), Units.octets(down.octetsIn),
        "\(up.octetsHeld)/\(down.octetsHeld)", "\(up.shift)/\(down.shift)",
        Units.time(milliseconds: connection.ageMilliseconds),
      ]
    }
    return table.text + (reply.truncated ? "There are more; '--limit' lists more of them.\n" : "")
  }
}

extension ConnectionDescription {
  /// Address and port as people write them.
  var client: String { Self.endpoint(clientAddress, clientPort) }
  var server: String { Self.endpoint(serverAddress, serverPort) }

  private static func endpoint(_ address: String, _ port: UInt16) -> String {
    address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)"
  }
}
