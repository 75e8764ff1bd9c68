import ArgumentParser
import Control

/// `flowctl pm types`
struct ModuleTypesCommand: GrammarCommand {
  static let configuration = CommandConfiguration(
    commandName: "types", abstract: "Lists the kinds of modules, or tells all of one.")

  @OptionGroup var words: ModuleTypesGrammar
  @OptionGroup var options: GlobalOptions

  func text(_ reply: ModuleTypes.Reply) -> String {
    if words.kind != nil { return reply.kinds.map(Self.details).joined(separator: "\n") }
    var table = Table(.text("KIND"), .text("LAYER"), .text("ACCESS"), .text("RUN"), .text("PARAMETERS"), .text("HELP"))
    table.rows = reply.kinds.map {
      [
        $0.kind, $0.layer, $0.access, $0.run.joined(separator: ","),
        $0.parameters.map(\.name).joined(separator: ","), $0.help,
      ]
    }
    return table.text
  }

  private static func details(_ kind: ModuleKind) -> String {
    var text = """
      \(kind.kind): \(kind.help)
        layer     \(kind.layer)
        access    \(kind.access)\(kind.peer ? ", works on the peer direction too" : "")
        runs      \(kind.run.joined(separator: " or "))\(kind.run == ["thread"] ? ", for it waits for its bytes" : "")
        holds     \(Units.octets(kind.holdLimitOctets)) for \(kind.holdTimeMilliseconds) ms at the most

      """
    if !kind.counters.isEmpty { text += "  counts    \(kind.counters.joined(separator: ", "))\n" }
    guard !kind.parameters.isEmpty else { return text }
    var table = Table(.text("PARAMETER"), .text("TYPE"), .text("DEFAULT"), .text("UNIT"), .text("HELP"))
    table.rows = kind.parameters.map {
      [$0.name, $0.type, $0.defaultValue.map(ShellWords.quote) ?? "required", $0.unit, $0.help]
    }
    return text + "\n" + table.text
  }
}
