import ArgumentParser
import Control
import Engine
import Glibc

/// `flowctl stats`
struct StatisticsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "stats", abstract: "Shows what was counted: in all, by flow and by module.")

  @OptionGroup var words: StatisticsGrammar

  @Option(help: ArgumentHelp("Show it again every so many seconds, until interrupted.", valueName: "seconds"))
  var watch: Double?

  @OptionGroup var options: GlobalOptions

  func validate() throws {
    guard (watch ?? 1) >= 0.1, (watch ?? 1) <= 3600 else {
      throw ValidationError("--watch takes 0.1 to 3600 seconds.")
    }
  }

  func run() throws {
    let client = try options.client()
    while true {
      try options.write(try client.send(words.request()), as: Self.text)
      guard let watch else { return }
      if !options.json { Terminal.write("\n") }
      usleep(UInt32(watch * 1_000_000))
    }
  }

  private static func text(_ reply: StatisticsRead.Reply) -> String {
    [
      reply.engine.map(engine), reply.engine.flatMap(kernel), flows(reply.flows), modules(reply.flows),
      own(reply.flows),
    ]
    .compactMap { $0 }.joined(separator: "\n")
  }

  private static func engine(_ totals: EngineTotals) -> String {
    var table = Table(.text("ENGINE"), .number(""))
    table.rows = EngineCounters.fields.map { field in
      let value = totals.counters[field.name] ?? 0
      return [field.name, field.name == "octets" ? Units.octets(value) : String(value)]
    }
    table.rows += [
      ["connections", String(totals.connections)],
      ["memory in use", Units.octets(totals.memoryInUse)],
      ["memory reserved", Units.octets(totals.memoryReserved)],
    ]
    return table.text
  }

  /// What is counted outside the engine, where there is anything.
  private static func kernel(_ totals: EngineTotals) -> String? {
    let own = Set(EngineCounters.fields.map(\.name))
    var table = Table(.text("KERNEL"), .number(""))
    for (name, value) in totals.counters.sorted(by: { $0.key < $1.key }) where !own.contains(name) {
      table.rows.append([name, String(value)])
    }
    return table.rows.isEmpty ? nil : table.text
  }

  private static func flows(_ flows: [FlowTotals]) -> String {
    var table = Table(.text("FLOW"), .number("PACKETS"), .number("OCTETS"), .number("CONNECTIONS"))
    table.rows = flows.map { flow in
      [
        flow.name, String(flow.counters["packets"] ?? 0), Units.octets(flow.counters["octets"] ?? 0),
        String(flow.counters["connections"] ?? 0),
      ]
    }
    return table.text
  }

  private static func modules(_ flows: [FlowTotals]) -> String? {
    var table = Table(
      .text("FLOW"), .text("MODULE"), .text("KIND"), .number("IN"), .number("OUT"), .number("EDITS"),
      .number("REMOVED"), .number("INSERTED"), .number("FORCED"))
    for flow in flows {
      table.rows += flow.modules.map { module in
        func count(_ name: String) -> UInt64 { module.counters[name] ?? 0 }
        return [
          flow.name, module.name, module.kind, Units.octets(count("octets_in")), Units.octets(count("octets_out")),
          String(count("edits")), Units.octets(count("octets_removed")), Units.octets(count("octets_inserted")),
          String(count("forced_releases")),
        ]
      }
    }
    return table.rows.isEmpty ? nil : table.text
  }

  private static func own(_ flows: [FlowTotals]) -> String? {
    var table = Table(.text("FLOW"), .text("MODULE"), .text("COUNTER"), .number("VALUE"))
    for flow in flows {
      for module in flow.modules {
        for (name, value) in module.own.sorted(by: { $0.key < $1.key }) {
          table.rows.append([flow.name, module.name, name, String(value)])
        }
      }
    }
    return table.rows.isEmpty ? nil : table.text
  }
}
