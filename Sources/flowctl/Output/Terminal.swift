import SystemPackage

/// Where text goes. Unbuffered, so that a reader at the other end of a pipe sees every report of `--watch` at once.
enum Terminal {
  static func write(_ text: String) { write(text, to: .standardOutput) }

  static func complain(_ text: String) { write(text, to: .standardError) }

  private static func write(_ text: String, to descriptor: FileDescriptor) {
    // There is nobody left to be told of an output that is closed.
    _ = try? descriptor.writeAll(text.utf8)
  }
}
