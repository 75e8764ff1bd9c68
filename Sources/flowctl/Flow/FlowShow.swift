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
    guard !flow.modules.isEmpty else { return head }
    var table = Table(
      .number("STAGE"), .text("NAME"), .text("KIND"), .text("LAYER"), .text("ACCESS"), .text("RUN"), .text("ARGUMENTS"))
    table.rows = flow.modules.map { module in
      [
        String(module.stage), module.name, module.kind, module.layer, module.access, module.run, module.argumentText,
      ]
    }
    return head + "\n" + table.text
  }
}
