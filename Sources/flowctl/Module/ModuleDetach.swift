import ArgumentParser
import Control

/// `flowctl pm detach`
struct ModuleDetachCommand: GrammarCommand {
  static let configuration = CommandConfiguration(
    commandName: "detach", abstract: "Takes a module out of a flow.")

  @OptionGroup var words: ModuleDetachGrammar
  @OptionGroup var options: GlobalOptions

  func text(_ reply: ModuleDetach.Reply) -> String { "" }
}
