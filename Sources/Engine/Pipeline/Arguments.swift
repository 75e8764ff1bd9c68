/// The values a module was attached with, each checked against its ``Parameter`` and completed with the defaults.
public struct Arguments: Sendable {
  /// A checked value.
  public enum Value: Sendable, Equatable {
    case bytes([UInt8])
    case integer(Int)
    case boolean(Bool)
    case text(String)
  }

  private var values: [String: Value] = [:]

  /// Checks what a user wrote against what a module declares.
  ///
  /// - Parameter given: the `KEY=VALUE` pairs as written, escapes not yet undone.
  /// - Throws: an error that names the key, what is wrong and what would be right.
  public init(_ given: [(key: String, value: String)], for parameters: [Parameter]) throws(ArgumentError) {
    var seen: Set<String> = []
    for (key, text) in given {
      guard let parameter = parameters.first(where: { $0.name == key }) else {
        let known = parameters.map(\.name).joined(separator: ", ")
        throw ArgumentError(
          "unknown parameter '\(key)'; " + (known.isEmpty ? "this module takes none" : "this module takes: \(known)"))
      }
      guard seen.insert(key).inserted else { throw ArgumentError("parameter '\(key)' is given twice") }
      values[key] = try Self.parse(text, as: parameter)
    }
    for parameter in parameters where values[parameter.name] == nil {
      guard let text = parameter.defaultValue else {
        throw ArgumentError("parameter '\(parameter.name)' is missing: \(parameter.help)")
      }
      values[parameter.name] = try Self.parse(text, as: parameter)
    }
  }

  private static func parse(_ text: String, as parameter: Parameter) throws(ArgumentError) -> Value {
    switch parameter.kind {
    case .bytes:
      return .bytes(try ByteString.unescape(text, of: parameter.name))
    case .integer(let bounds):
      guard let number = Int(text) else {
        throw ArgumentError("parameter '\(parameter.name)' takes a whole number, not '\(text)'")
      }
      guard bounds.contains(number) else {
        throw ArgumentError(
          "parameter '\(parameter.name)' takes \(bounds.lowerBound) to \(bounds.upperBound)"
            + (parameter.unit.isEmpty ? "" : " \(parameter.unit)") + ", not \(number)")
      }
      return .integer(number)
    case .boolean:
      switch text.lowercased() {
      case "true", "yes", "on", "1": return .boolean(true)
      case "false", "no", "off", "0": return .boolean(false)
      default: throw ArgumentError("parameter '\(parameter.name)' takes true or false, not '\(text)'")
      }
    case .path, .text:
      return .text(text)
    }
  }

  /// The bytes of a `.bytes` parameter. A name the module did not declare is a programming error.
  public func bytes(_ name: String) -> [UInt8] {
    guard case .bytes(let bytes) = values[name] else { preconditionFailure("\(name) is not declared as bytes") }
    return bytes
  }

  /// The number of an `.integer` parameter.
  public func integer(_ name: String) -> Int {
    guard case .integer(let number) = values[name] else { preconditionFailure("\(name) is not declared as an integer") }
    return number
  }

  /// The truth of a `.boolean` parameter.
  public func boolean(_ name: String) -> Bool {
    guard case .boolean(let flag) = values[name] else { preconditionFailure("\(name) is not declared as a boolean") }
    return flag
  }

  /// The text of a `.text` or `.path` parameter.
  public func text(_ name: String) -> String {
    guard case .text(let text) = values[name] else { preconditionFailure("\(name) is not declared as text") }
    return text
  }
}

/// Why a module refuses its arguments, as one sentence for the user.
public struct ArgumentError: Error, Equatable, CustomStringConvertible {
  public let description: String
  public init(_ description: String) { self.description = description }
}
