import ArgumentParser
import Control

/// `flowctl flow del`
struct FlowDeleteCommand: GrammarCommand {
  static let configuration = CommandConfiguration(
    commandName: "del", abstract: "Takes a flow away, with its modules.")

  @OptionGroup var words: FlowDeleteGrammar
  @OptionGroup var options: GlobalOptions

  func text(_ reply: FlowDelete.Reply) -> String { "" }
}
