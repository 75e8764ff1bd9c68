import ArgumentParser
import Control

/// `flowctl version`
struct VersionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "version", abstract: "Prints the versions of flowctl and of the daemon.")

  @OptionGroup var options: GlobalOptions

  private struct Versions: Encodable {
    var flowctl: String
    var flowos: String
  }

  func run() throws {
    let daemon = try options.client().send(VersionRead())
    try options.write(Versions(flowctl: Version.current, flowos: daemon.version)) {
      "flowctl \($0.flowctl)\nflowos  \($0.flowos)\n"
    }
  }
}
