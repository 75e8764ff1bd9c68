import ArgumentParser
import Control

/// `flowctl flow add`
struct FlowAddCommand: GrammarCommand {
  static let configuration = CommandConfiguration(
    commandName: "add", abstract: "Makes a flow.")

  @OptionGroup var words: FlowAddGrammar
  @OptionGroup var options: GlobalOptions

  func text(_ reply: FlowAdd.Reply) -> String { "" }
}
