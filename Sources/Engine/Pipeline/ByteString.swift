/// The textual form of byte strings in commands: UTF-8 text with `\xNN`, `\n`, `\r`, `\t` and `\\`.
public enum ByteString {
  /// The bytes that `text` stands for.
  public static func unescape(_ text: String, of name: String) throws(ArgumentError) -> [UInt8] {
    var bytes: [UInt8] = []
    var rest = text.utf8.makeIterator()
    while let byte = rest.next() {
      guard byte == UInt8(ascii: "\\") else {
        bytes.append(byte)
        continue
      }
      switch rest.next() {
      case UInt8(ascii: "n"): bytes.append(0x0A)
      case UInt8(ascii: "r"): bytes.append(0x0D)
      case UInt8(ascii: "t"): bytes.append(0x09)
      case UInt8(ascii: "\\"): bytes.append(UInt8(ascii: "\\"))
      case UInt8(ascii: "x"):
        guard let high = rest.next().flatMap(nibble), let low = rest.next().flatMap(nibble) else {
          throw ArgumentError("parameter '\(name)': \\x takes two hexadecimal digits, as in \\x0a")
        }
        bytes.append(high << 4 | low)
      default:
        throw ArgumentError("parameter '\(name)': a backslash stands before x, n, r, t or another backslash")
      }
    }
    return bytes
  }

  private static func nibble(_ digit: UInt8) -> UInt8? {
    switch digit {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): digit - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): digit - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): digit - UInt8(ascii: "A") + 10
    default: nil
    }
  }
}
