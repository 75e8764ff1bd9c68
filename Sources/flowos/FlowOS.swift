import ArgumentParser
import Control
import Glibc
import Modules

/// `flowos`: the daemon, and the same engine over captures.
@main
struct FlowOS: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "flowos", abstract: "Reads and edits the byte streams that cross this router.",
    version: Version.current, subcommands: [Run.self, Replay.self, Check.self])

  /// The modules that can be attached.
  static let registry = ModuleRegistry(Shipped.modules)

  static func main() {
    do {
      try RawArguments.check()
      var command = try parseAsRoot()
      try command.run()
    } catch let error as ControlError {
      complain(error)
      Glibc.exit(error.exitCode)
    } catch {
      let code = exitCode(for: error)
      guard code != .success else { exit(withError: error) }
      complain(fullMessage(for: error))
      // ArgumentParser says 64 (EX_USAGE) where a script expects 2.
      Glibc.exit(2)
    }
  }

  private static func complain(_ error: ControlError) {
    complain("flowos: " + (error.place.map { "\($0): " } ?? "") + error.what + (error.mend.map { "\n  " + $0 } ?? ""))
  }

  private static func complain(_ text: String) {
    let line = Array((text + "\n").utf8)
    _ = unsafe line.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }
}
