import ArgumentParser
import Control

/// `flowctl flow show`
struct FlowShowCommand: GrammarCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Shows one flow and its modules.")

  @OptionGroup var words: FlowShowGrammar
  @OptionGroup var options: GlobalOptions

  func text(_ reply: FlowShow.Reply) -> String {
    let flow = reply.flow
    let head = """
      flow \(flow.name)
        match     \(flow.match)
        priority  \(flow.priority)
        on-fail   \(flow.onFail)

      """
    return flow.modules.isEmpty ? head : head + "\n" + ModuleListCommand.table(flow.modules)
  }
}
