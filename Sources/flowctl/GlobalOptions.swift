import ArgumentParser
import Control
import FoundationEssentials

/// The options that every command takes, at any place after `flowctl`.
struct GlobalOptions: ParsableArguments {
  @Flag(name: [.short, .customLong("json")], help: "Write JSON, errors too: one object a line.")
  var json = false

  @Option(
    help: ArgumentHelp(
      "The daemon's socket; FLOWOS_SOCKET where none is given, else \(Client.defaultPath).", valueName: "path"))
  var socket: String?

  @Option(help: ArgumentHelp("How long a request may take. (default: 5)", valueName: "seconds"))
  var timeout: Double?

  func validate() throws {
    guard (timeout ?? 5) > 0, (timeout ?? 5) <= 86_400 else {
      throw ValidationError("--timeout takes more than 0 and at most 86400 seconds.")
    }
  }

  func client() throws(ControlError) -> Client {
    let named = socket ?? ProcessInfo.processInfo.environment["FLOWOS_SOCKET"].flatMap { $0.isEmpty ? nil : $0 }
    return try Client(path: named ?? Client.defaultPath, timeout: .seconds(timeout ?? 5))
  }

  /// Writes `reply` as JSON, or as `text` makes it readable.
  func write<Reply: Encodable>(_ reply: Reply, as text: (Reply) -> String) throws(ControlError) {
    if json {
      Terminal.write(String(decoding: try JSON.encode(reply), as: UTF8.self) + "\n")
    } else {
      Terminal.write(text(reply))
    }
  }
}
