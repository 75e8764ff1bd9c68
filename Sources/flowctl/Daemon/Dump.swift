import ArgumentParser
import Control

/// `flowctl dump`
struct DumpCommand: RequestCommand {
  static let configuration = CommandConfiguration(
    commandName: "dump", abstract: "Prints the commands that make the present state, as 'apply' takes them.")

  @OptionGroup var options: GlobalOptions

  func request() -> Dump { Dump() }

  func text(_ reply: Dump.Reply) -> String { reply.commands }
}
