import ArgumentParser
import Control
import Glibc

/// Parses the arguments, runs the command, and turns what goes wrong into a message and an exit code.
@main
enum Main {
  static func main() {
    do {
      try RawArguments.check()
      var command = try Flowctl.parseAsRoot()
      try command.run()
    } catch let error as ControlError {
      report(error)
      exit(error.exitCode)
    } catch {
      let code = Flowctl.exitCode(for: error)
      if code == .success {
        Terminal.write(Flowctl.fullMessage(for: error) + "\n")
        exit(0)
      }
      if wantsJSON {
        report(ControlError(.usage, Flowctl.message(for: error), mend: "'flowctl --help' tells more"))
      } else {
        Terminal.complain(Flowctl.fullMessage(for: error) + "\n")
      }
      // ArgumentParser says 64 (EX_USAGE) where a script expects 2.
      exit(2)
    }
  }

  private static func report(_ error: ControlError) {
    if wantsJSON, let octets = try? JSON.encode(["error": error]) {
      Terminal.complain(String(decoding: octets, as: UTF8.self) + "\n")
    } else {
      let lines = [
        "flowctl: " + (error.place.map { "\($0): " } ?? "") + error.what, error.mend.map { "  " + $0 },
      ]
      Terminal.complain(lines.compactMap { $0 }.map { $0 + "\n" }.joined())
    }
  }

  /// Looked up in the words themselves, for where they cannot be parsed there are no options.
  private static var wantsJSON: Bool { CommandLine.arguments.contains { $0 == "-j" || $0 == "--json" } }
}
