import ArgumentParser
import Control

/// `flowctl pm attach`
struct ModuleAttachCommand: GrammarCommand {
  static let configuration = CommandConfiguration(
    commandName: "attach", abstract: "Puts a module into a flow; prints the instance's name.")

  @OptionGroup var words: ModuleAttachGrammar
  @OptionGroup var options: GlobalOptions

  func text(_ reply: AttachedInstance) -> String { reply.name + "\n" }
}
