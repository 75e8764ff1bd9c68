import ArgumentParser
import Control

/// `flowctl conn kill`
struct ConnectionKillCommand: GrammarCommand {
  static let configuration = CommandConfiguration(
    commandName: "kill", abstract: "Resets a connection at both ends; of UDP, lets no datagram pass.")

  @OptionGroup var words: ConnectionKillGrammar
  @OptionGroup var options: GlobalOptions

  func text(_ reply: ConnectionKill.Reply) -> String { "" }
}
