import ArgumentParser
import Control

/// The commands in the order in which `--help` lists them.
struct Flowctl: CommandGroup {
  static let configuration = CommandConfiguration(
    commandName: "flowctl", abstract: "Controls a running flowos.", version: Version.current,
    subcommands: [
      FlowGroup.self, ModuleGroup.self, ConnectionGroup.self, StatisticsCommand.self, MonitorCommand.self,
      ApplyCommand.self, DumpCommand.self, PingCommand.self, VersionCommand.self, ShutdownCommand.self,
    ])

  @OptionGroup var options: GlobalOptions
}

/// `flowctl flow`
struct FlowGroup: CommandGroup {
  static let configuration = CommandConfiguration(
    commandName: "flow", abstract: "The flows: which packets are taken.",
    subcommands: [
      FlowAddCommand.self, FlowReplaceCommand.self, FlowDeleteCommand.self, FlowListCommand.self, FlowShowCommand.self,
    ])

  @OptionGroup var options: GlobalOptions
}

/// `flowctl pm`
struct ModuleGroup: CommandGroup {
  static let configuration = CommandConfiguration(
    commandName: "pm", abstract: "The processing modules: what is done with the bytes of a flow.",
    subcommands: [
      ModuleTypesCommand.self, ModuleAttachCommand.self, ModuleDetachCommand.self, ModuleMoveCommand.self,
      ModuleSetCommand.self, ModuleListCommand.self,
    ])

  @OptionGroup var options: GlobalOptions
}

/// `flowctl conn`
struct ConnectionGroup: CommandGroup {
  static let configuration = CommandConfiguration(
    commandName: "conn", abstract: "The connections of the flows.",
    subcommands: [ConnectionListCommand.self, ConnectionShowCommand.self, ConnectionKillCommand.self])

  @OptionGroup var options: GlobalOptions
}

/// A command that is none without the next word: left alone, it is a mistake and no question for help.
protocol CommandGroup: ParsableCommand {}

extension CommandGroup {
  func run() throws { throw ValidationError("A command is missing.") }
}
