import ArgumentParser

/// The words of one command after its name, and the request that they make.
///
/// Declared once: `flowctl`'s subcommand and the line of a command file parse with the same value.
public protocol Grammar: ParsableArguments {
  associatedtype Command: Request

  func request() throws(ControlError) -> Command
}

/// A grammar whose request changes the wanted state, and that a command file may hence hold.
public protocol ChangeGrammar: Grammar where Command: Change {
  /// The command's name, as in `flow add`.
  static var words: [String] { get }
}
