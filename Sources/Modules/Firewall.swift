import Engine

/// Lets no packet of its flow pass: the flow's match is the rule.
public struct Firewall: ProcessingModule {
  public static let description = ModuleDescription(
    kind: "firewall", layer: .ip, access: .read,
    parameters: [
      Parameter("action", .text, default: "drop", help: "'drop' without a word, or 'reject' and tell the source")
    ],
    counters: ["packets"],
    help: "Drops or rejects every packet of its flow.")

  private let isRejecting: Bool

  public init(_ arguments: Arguments) throws(ArgumentError) {
    switch arguments.text("action") {
    case "drop": isRejecting = false
    case "reject": isRejecting = true
    case let other: throw ArgumentError("parameter 'action' takes drop or reject, not '\(other)'")
    }
  }

  public mutating func process(_ window: inout Window) {
    window.count(0)
    if isRejecting { window.reset() } else { window.drop() }
  }
}
