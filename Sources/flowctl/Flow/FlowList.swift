import ArgumentParser
import Control

/// `flowctl flow list`
struct FlowListCommand: RequestCommand {
  static let configuration = CommandConfiguration(commandName: "list", abstract: "Lists the flows.")

  @OptionGroup var options: GlobalOptions

  func request() -> FlowList { FlowList() }

  func text(_ reply: FlowList.Reply) -> String {
    var table = Table(.text("NAME"), .number("PRIORITY"), .text("ON-FAIL"), .text("MODULES"), .text("MATCH"))
    table.rows = reply.flows.map { flow in
      [
        flow.name, String(flow.priority), String(describing: flow.onFail),
        flow.modules.isEmpty ? "-" : flow.modules.map(\.name).joined(separator: ","), flow.match,
      ]
    }
    return table.text
  }
}
