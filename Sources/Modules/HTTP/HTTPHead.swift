/// A whole head of a message: the octets up to and with the empty line, and where the fields stand in them.
struct HTTPHead {
  /// Octets that a head may have.
  static let largest = 65_536

  let octets: [UInt8]
  let fields: [HTTPParser.Field]

  /// Whether the head is such that nobody can read it in two ways (RFC 9112 sections 2.2, 5.1 and 5.2): lines end in
  /// CR LF, none is folded, and no white space stands between a name and its colon.
  var isPlain: Bool {
    for (index, octet) in octets.enumerated().dropFirst() where octet == UInt8(ascii: "\n") {
      guard octets[index - 1] == UInt8(ascii: "\r") else { return false }
      guard index + 1 < octets.count else { break }
      guard octets[index + 1] != UInt8(ascii: " "), octets[index + 1] != UInt8(ascii: "\t") else { return false }
    }
    return fields.allSatisfy { !octets[$0.name].contains(UInt8(ascii: " ")) }
  }

  /// The fields with the name, which is given in lower case.
  func all(_ name: String) -> [HTTPParser.Field] {
    fields.filter { field in
      field.name.count == name.utf8.count && octets[field.name].lazy.map(Self.lowered).elementsEqual(name.utf8)
    }
  }

  /// The values of the fields with the name, joined as RFC 9110 section 5.3 says, in lower case and trimmed; nil where
  /// there is no such field.
  func value(_ name: String) -> String? {
    let fields = all(name)
    guard !fields.isEmpty else { return nil }
    let values = fields.map { field in
      var value = octets[field.value]
      while let last = value.last, last == UInt8(ascii: " ") || last == UInt8(ascii: "\t") { value.removeLast() }
      return String(decoding: value.map(Self.lowered), as: UTF8.self)
    }
    return values.joined(separator: ", ")
  }

  /// The octets of the whole line of `field`, its end included.
  func line(of field: HTTPParser.Field) -> Range<Int> {
    let end = octets[field.value.upperBound...].firstIndex(of: UInt8(ascii: "\n")) ?? octets.count - 1
    return field.name.lowerBound..<end + 1
  }

  private static func lowered(_ octet: UInt8) -> UInt8 { octet &- 0x41 < 26 ? octet | 0x20 : octet }
}
