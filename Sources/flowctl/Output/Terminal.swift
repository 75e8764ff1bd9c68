import SystemPackage

/// Where text goes. Unbuffered, so that a reader at the other end of a pipe sees every report of `--watch` at once.
enum Terminal {
  static func write(_ text: String) { write(text, to: .standardOutput) }

  static func complain(_ text: String) { write(text, to: .standardError) }

  /// `text` with control characters written as `\xNN`: what modules say may come from the network, and must not steer the
  /// terminal or begin a line.
  static func printable(_ text: String) -> String {
    text.unicodeScalars.map { scalar in
      guard scalar.properties.generalCategory == .control else { return String(scalar) }
      return "\\x" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
    }.joined()
  }

  private static func write(_ text: String, to descriptor: FileDescriptor) {
    // There is nobody left to be told of an output that is closed.
    _ = try? descriptor.writeAll(text.utf8)
  }
}
