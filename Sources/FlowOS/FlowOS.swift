import ArgumentParser
import Control
import Glibc
import Modules

/// Runs `flowos` with the modules that come with it and with `modules`: the daemon, and the same engine over captures. This is
/// all that the main of a program with modules of its own has to say:
///
///     import FlowOS
///
///     FlowOS.main(modules: [Shout.self])
///
/// Takes its arguments from the command line, and ends the process with another exit code than 0 where it fails, as where two
/// modules are of one kind.
public func main(modules: [any ProcessingModule.Type] = []) {
  do {
    try RawArguments.check()
    let registry = try ModuleRegistry(Shipped.modules + modules)
    var command = try Program.parseAsRoot()
    if let command = command as? any ModuleCommand { try command.run(registry) } else { try command.run() }
  } catch let error as ControlError {
    complain(error)
    Glibc.exit(error.exitCode)
  } catch {
    let code = Program.exitCode(for: error)
    guard code != .success else { Program.exit(withError: error) }
    complain(Program.fullMessage(for: error))
    // ArgumentParser says 64 (EX_USAGE) where a script expects 2.
    Glibc.exit(2)
  }
}

private func complain(_ error: ControlError) {
  complain("flowos: " + (error.place.map { "\($0): " } ?? "") + error.what + (error.mend.map { "\n  " + $0 } ?? ""))
}

private func complain(_ text: String) {
  let line = Array((text + "\n").utf8)
  _ = unsafe line.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
}

/// `flowos`, whose subcommands do the work.
struct Program: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "flowos", abstract: "Reads and edits the byte streams that cross this router.",
    version: Version.current, subcommands: [Run.self, Replay.self, Check.self])
}

/// A subcommand that works with modules.
protocol ModuleCommand: ParsableCommand {
  /// - Parameter registry: the modules that can be attached.
  func run(_ registry: ModuleRegistry) throws
}
