import FoundationEssentials

/// JSON as the protocol and `flowctl -j` write it: on one line, keys sorted.
public enum JSON {
  public static func encode(_ value: some Encodable) throws(ControlError) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do {
      return [UInt8](try encoder.encode(value))
    } catch {
      throw ControlError(.fault, "a value cannot be written as JSON: \(error)")
    }
  }

  static func decode<Value: Decodable>(_ type: Value.Type, from octets: [UInt8]) throws -> Value {
    try JSONDecoder().decode(type, from: Data(octets))
  }
}
