import ArgumentParser
import Control

/// `flowctl ping`
struct PingCommand: RequestCommand {
  static let configuration = CommandConfiguration(commandName: "ping", abstract: "Asks whether the daemon lives.")

  @OptionGroup var options: GlobalOptions

  func request() -> Ping { Ping() }

  func text(_ reply: Ping.Reply) -> String { "pong\n" }
}
