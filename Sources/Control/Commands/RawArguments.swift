/// The words of the command line as the system gave them.
///
/// Swift's `CommandLine.arguments` puts U+FFFD in the place of what is not UTF-8, so a program that looks at nothing else
/// works with other bytes than it was given.
public enum RawArguments {
  /// Throws a usage error where a word is not UTF-8.
  public static func check() throws(ControlError) {
    for index in 1..<max(1, Int(CommandLine.argc)) {
      guard let word = unsafe CommandLine.unsafeArgv[index] else { return }
      guard unsafe String(validatingCString: word) != nil else {
        throw ControlError(
          .usage, "'\(unsafe String(cString: word))' is not UTF-8", at: "argument \(index)",
          mend: "write other bytes as \\xNN")
      }
    }
  }
}
