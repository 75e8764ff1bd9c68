import ArgumentParser
import Control

/// `flowctl pm set`
struct ModuleSetCommand: GrammarCommand {
  static let configuration = CommandConfiguration(
    commandName: "set", abstract: "Changes arguments of an attached module.")

  @OptionGroup var words: ModuleSetGrammar
  @OptionGroup var options: GlobalOptions

  func text(_ reply: ModuleSet.Reply) -> String { "" }
}
