import ArgumentParser
import Control

/// `flowctl apply`
struct ApplyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "apply", abstract: "Makes all changes of a command file, or none.")

  @Argument(help: "The file, one command a line as after 'flowctl'; '-' is the standard input.")
  var file: String

  @Flag(help: "Only try: tell what would be refused, and change nothing.")
  var check = false

  @OptionGroup var options: GlobalOptions

  func run() throws {
    let commands = try CommandFile(path: file)
    let reply = try options.client().send(commands.transaction(asTrial: check))
    try options.write(reply) {
      "\($0.changes) change\($0.changes == 1 ? "" : "s") \($0.applied ? "made" : "would be made")\n"
    }
  }
}
