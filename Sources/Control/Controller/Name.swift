/// The names that users give to flows and instances.
enum Name {
  /// Letters, digits, `_`, `.` and `-`, of ASCII, at most 63, and no `-` or `.` in front: a name is a word of the shell
  /// and never looks like an option.
  static func check(_ name: String, of thing: String) throws(ControlError) {
    let isGood = name.utf8.enumerated().allSatisfy { index, octet in
      switch octet {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
        true
      case UInt8(ascii: "-"), UInt8(ascii: "."): index > 0
      default: false
      }
    }
    guard isGood, (1...63).contains(name.utf8.count) else {
      throw ControlError(
        .refused, "'\(name)' cannot name a \(thing)",
        mend: "use up to 63 letters, digits, '_', '.' and '-', beginning with a letter, a digit or '_'")
    }
  }
}
