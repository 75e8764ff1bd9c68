import ArgumentParser
import Control

/// A command that is one request, and whose reply is shown.
protocol RequestCommand: ParsableCommand {
  associatedtype Command: Request

  var options: GlobalOptions { get }

  func request() throws(ControlError) -> Command

  /// The reply for people, each line with its newline; empty where success says it all.
  func text(_ reply: Command.Reply) -> String
}

extension RequestCommand {
  func run() throws {
    let reply = try options.client().send(try request())
    try options.write(reply, as: text)
  }
}

/// A request command whose words are a grammar of the library.
protocol GrammarCommand: RequestCommand where Command == Words.Command {
  associatedtype Words: Grammar

  var words: Words { get }
}

extension GrammarCommand {
  func request() throws(ControlError) -> Words.Command { try words.request() }
}
