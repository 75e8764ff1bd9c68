/// A key as it stands in the JSON, known or not.
private struct AnyKey: CodingKey {
  var stringValue: String
  var intValue: Int?
  init?(stringValue: String) { self.stringValue = stringValue }
  init?(intValue: Int) { return nil }
}

extension Decoder {
  /// Throws where the object has a key that is not one of `Keys`.
  func refuseKeys<Keys: CodingKey & CaseIterable>(otherThan keys: Keys.Type) throws {
    let container = try container(keyedBy: AnyKey.self)
    for key in container.allKeys where Keys(stringValue: key.stringValue) == nil {
      let known = Keys.allCases.map(\.stringValue)
      var text = "unknown key '\(key.stringValue)'"
      if let nearest = Nearest.name(to: key.stringValue, among: known) { text += "; did you mean '\(nearest)'?" }
      throw DecodingError.dataCorrupted(.init(codingPath: codingPath, debugDescription: text))
    }
  }
}

extension Request {
  /// Decodes, and throws where there is a key that the request does not know.
  init(strictly decoder: any Decoder) throws {
    try decoder.refuseKeys(otherThan: CodingKeys.self)
    try self.init(from: decoder)
  }

  /// The request whose `params` are left out.
  static func withoutParameters() throws -> Self { try JSON.decode(Self.self, from: Array("{}".utf8)) }
}

extension DecodingError {
  /// What is wrong with a request's parameters, as one clause for the user.
  var clause: String {
    func name(_ path: [any CodingKey]) -> String { path.map(\.stringValue).joined(separator: ".") }
    switch self {
    case .keyNotFound(let key, let context): return "'\(name(context.codingPath + [key]))' is missing"
    case .typeMismatch(let type, let context), .valueNotFound(let type, let context):
      return "'\(name(context.codingPath))' must be \(Self.words[String(describing: type)] ?? "of another type")"
    case .dataCorrupted(let context):
      let place = name(context.codingPath)
      return (place.isEmpty || place == "params" ? "" : "'\(place)': ") + context.debugDescription
    @unknown default: return String(describing: self)
    }
  }

  private static let words = [
    "Int": "a whole number", "UInt64": "a whole number", "String": "a string", "Bool": "true or false",
    "Dictionary<String, String>": "an object", "Dictionary<String, Any>": "an object", "Array<Any>": "an array",
  ]
}
