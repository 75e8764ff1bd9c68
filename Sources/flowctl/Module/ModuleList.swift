import ArgumentParser
import Control

/// `flowctl pm list`
struct ModuleListCommand: GrammarCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "Lists the attached modules.")

  @OptionGroup var words: ModuleListGrammar
  @OptionGroup var options: GlobalOptions

  func text(_ reply: ModuleList.Reply) -> String { Self.table(reply.modules) }

  static func table(_ modules: [ModuleInstance]) -> String {
    var table = Table(.text("FLOW"), .number("STAGE"), .text("NAME"), .text("KIND"), .text("RUN"), .text("ARGUMENTS"))
    table.rows = modules.map { module in
      let arguments = module.arguments.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
      return [
        module.flow, String(module.stage), module.name, module.kind, module.run, ShellWords.join(arguments),
      ]
    }
    return table.text
  }
}
