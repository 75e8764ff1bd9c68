import ArgumentParser
import Control
import Engine
import Netfilter

/// `flowos check FILE`: says whether a command file would be taken, and changes nothing.
struct Check: ModuleCommand {
  static let configuration = CommandConfiguration(abstract: "Check a file of commands and change nothing.")

  @Argument(help: "The file of commands, as 'flowctl apply' takes it; - for the standard input.", completion: .file())
  var file: String

  func run(_ registry: ModuleRegistry) throws {
    let commands = try CommandFile(path: file)
    let configuration = try commands.configuration(registry: registry, portNamed: NetworkInterface.index(named:))
    let modules = configuration.flows.reduce(0) { $0 + $1.modules.count }
    print("\(commands.name): good, \(configuration.flows.count) flow(s), \(modules) module(s)")
  }
}
