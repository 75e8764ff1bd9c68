import ArgumentParser
import Control

/// `flowctl pm move`
struct ModuleMoveCommand: GrammarCommand {
  static let configuration = CommandConfiguration(
    commandName: "move", abstract: "Puts a module into another stage of its flow.")

  @OptionGroup var words: ModuleMoveGrammar
  @OptionGroup var options: GlobalOptions

  func text(_ reply: ModuleMove.Reply) -> String { "" }
}
