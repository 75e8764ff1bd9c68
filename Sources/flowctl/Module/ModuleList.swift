import ArgumentParser
import Control

/// `flowctl pm list`
struct ModuleListCommand: GrammarCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "Lists the attached modules and what went through them.")

  @OptionGroup var words: ModuleListGrammar
  @OptionGroup var options: GlobalOptions

  func text(_ reply: ModuleList.Reply) -> String {
    var table = Table(
      .text("FLOW"), .number("STAGE"), .text("NAME"), .text("KIND"), .text("LAYER"), .text("ACCESS"), .text("RUN"),
      .number("IN"), .number("OUT"), .number("HELD"), .number("FAILED"), .number("UNSEEN"), .text("ARGUMENTS"),
      .text("STATE"))
    table.rows = reply.modules.map { module in
      func count(_ name: String) -> UInt64 { module.counters?[name] ?? 0 }
      return [
        module.flow, String(module.stage), module.name, module.kind, module.layer, module.access, module.run,
        Units.octets(count("octets_in")), Units.octets(count("octets_out")), Units.octets(module.octetsHeld ?? 0),
        String(count("failures")), String(count("unseen")), module.argumentText,
        (module.state ?? "-") + (module.reason.map { ": " + Terminal.printable($0) } ?? ""),
      ]
    }
    return table.text
  }
}

extension ModuleInstance {
  /// The arguments as one writes them in a shell.
  var argumentText: String {
    ShellWords.join(arguments.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" })
  }
}
