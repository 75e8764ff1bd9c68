import ArgumentParser
import Control

/// `flowctl shutdown`
struct ShutdownCommand: RequestCommand {
  static let configuration = CommandConfiguration(commandName: "shutdown", abstract: "Ends the daemon in good order.")

  @OptionGroup var options: GlobalOptions

  func request() -> Shutdown { Shutdown() }

  func text(_ reply: Shutdown.Reply) -> String { "" }
}
