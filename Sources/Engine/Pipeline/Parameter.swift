/// One parameter of a processing module, declared once: `flowctl pm types` prints it, `pm attach` and `pm set` check
/// against it.
public struct Parameter: Sendable {
  /// What a parameter takes.
  public enum Kind: Sendable, Equatable {
    /// A byte string; `\xNN`, `\n`, `\r`, `\t` and `\\` are understood.
    case bytes
    /// A whole number within the bounds, both included.
    case integer(ClosedRange<Int>)
    /// `true`/`false`, `yes`/`no`, `on`/`off`, `1`/`0`.
    case boolean
    /// A file that the daemon reads when the module is attached or set.
    case path
    /// Any text.
    case text
  }

  /// The key, as in `KEY=VALUE`.
  public let name: String
  public let kind: Kind
  /// The value taken where none is given, as a user would write it; nil makes the parameter required.
  public let defaultValue: String?
  /// The unit of a number ("octets", "ms"); empty where there is none.
  public let unit: String
  /// One sentence for `flowctl pm types`.
  public let help: String

  public init(_ name: String, _ kind: Kind, default defaultValue: String? = nil, unit: String = "", help: String) {
    self.name = name
    self.kind = kind
    self.defaultValue = defaultValue
    self.unit = unit
    self.help = help
  }
}

extension Parameter.Kind {
  /// What `flowctl pm types` calls it.
  public var name: String {
    switch self {
    case .bytes: "bytes"
    case .integer(let bounds): "integer \(bounds.lowerBound)..\(bounds.upperBound)"
    case .boolean: "boolean"
    case .path: "path"
    case .text: "text"
    }
  }
}
