import ArgumentParser
import Control

/// `flowctl flow replace`
struct FlowReplaceCommand: GrammarCommand {
  static let configuration = CommandConfiguration(
    commandName: "replace", abstract: "Gives a flow another match; its modules stay.")

  @OptionGroup var words: FlowReplaceGrammar
  @OptionGroup var options: GlobalOptions

  func text(_ reply: FlowReplace.Reply) -> String { "" }
}
