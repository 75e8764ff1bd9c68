import ArgumentParser
import Control

/// `flowctl conn show`
struct ConnectionShowCommand: GrammarCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Shows one connection, its two directions and their modules.")

  @OptionGroup var words: ConnectionShowGrammar
  @OptionGroup var options: GlobalOptions

  func text(_ reply: ConnectionShow.Reply) -> String {
    let connection = reply.connection
    let head = """
      connection \(connection.id)
        client    \(connection.client)
        server    \(connection.server)
        state     \(connection.state)
        edited    \(connection.isEdited ? "yes" : "no")
        age       \(Units.time(milliseconds: connection.ageMilliseconds))
        idle      \(Units.time(milliseconds: connection.idleMilliseconds))

      """
    let tables = [Self.directions(connection), reply.modules.isEmpty ? nil : Self.modules(reply.modules)]
    return ([head] + tables.compactMap { $0?.text }).joined(separator: "\n")
  }

  private static func directions(_ connection: ConnectionDescription) -> Table {
    var table = Table(
      .text("DIRECTION"), .text("FLOW"), .number("IN"), .number("OUT"), .number("HELD"), .number("UNACKNOWLEDGED"),
      .number("SHIFT"), .number("MAP"))
    table.rows = [("to-server", connection.toServer), ("to-client", connection.toClient)].map { name, direction in
      [
        name, direction.flow ?? "-", Units.octets(direction.octetsIn), Units.octets(direction.octetsOut),
        Units.octets(direction.octetsHeld), Units.octets(direction.octetsUnacknowledged), String(direction.shift),
        String(direction.mapEntries),
      ]
    }
    return table
  }

  private static func modules(_ modules: [ModulePosition]) -> Table {
    var table = Table(
      .text("DIRECTION"), .text("FLOW"), .number("STAGE"), .text("NAME"), .text("KIND"), .text("LAYER"),
      .number("PACKETS"), .number("HEAD"), .number("TAIL"), .number("HELD"), .number("RELEASED"), .text("STATE"))
    func number(_ value: UInt64?) -> String { value.map(String.init) ?? "-" }
    table.rows = modules.map { module in
      [
        module.direction + (module.peer ? " (peer)" : ""), module.flow ?? "-", module.stage.map(String.init) ?? "-",
        module.name ?? "-", module.kind ?? "-", module.layer ?? "-", number(module.packets), number(module.head),
        number(module.tail), number(module.octetsHeld), number(module.octetsReleased),
        module.state + (module.reason.map { ": " + Terminal.printable($0) } ?? ""),
      ]
    }
    return table
  }
}
