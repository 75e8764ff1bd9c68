import ArgumentParser

/// A file of commands, one a line without `flowctl` in front, as `apply` and `flowos run --apply` take it.
public struct CommandFile: Sendable {
  /// What errors call the file.
  public let name: String
  public let steps: [Transaction.Step]

  /// The most octets that a file may have.
  public static let maximumSize = 1 << 20

  /// Parses `text`.
  ///
  /// - Throws: the first error, with `name` and the line as its place.
  public init(parsing text: String, name: String) throws(ControlError) {
    self.name = name
    let lines: [ShellWords.Line]
    do {
      lines = try ShellWords.split(text)
    } catch {
      throw ControlError(
        .usage, error.what, at: "\(name):\(error.line)", mend: "quotations and backslashes work as in a POSIX shell")
    }
    var steps: [Transaction.Step] = []
    for line in lines {
      do {
        steps.append(Transaction.Step(line: line.number, change: try Self.parse(line.words)))
      } catch {
        throw error.found(at: "\(name):\(line.number)")
      }
    }
    self.steps = steps
  }

  /// Reads and parses the file at `path`; `-` is the standard input.
  public init(path: String) throws(ControlError) {
    let name = path == "-" ? "(standard input)" : path
    let octets: [UInt8]
    do {
      octets = try FileContents.read(path, limit: Self.maximumSize)
    } catch {
      throw ControlError(.usage, "cannot read it: \(error)", at: name)
    }
    guard octets.count <= Self.maximumSize else {
      throw ControlError(.usage, "it is larger than \(Self.maximumSize) octets", at: name, mend: "split it")
    }
    guard let text = String(validating: octets, as: UTF8.self) else {
      throw ControlError(.usage, "it is not UTF-8 text", at: name, mend: "write other bytes as \\xNN")
    }
    try self.init(parsing: text, name: name)
  }

  /// The transaction that makes the file's changes, or only tries them.
  public func transaction(asTrial isTrial: Bool = false) -> Transaction {
    Transaction(steps: steps, source: name, check: isTrial ? true : nil)
  }

  private static let grammars: [any ChangeGrammar.Type] = [
    FlowAddGrammar.self, FlowReplaceGrammar.self, FlowDeleteGrammar.self,
    ModuleAttachGrammar.self, ModuleDetachGrammar.self, ModuleMoveGrammar.self, ModuleSetGrammar.self,
  ]

  private static func parse(_ words: [String]) throws(ControlError) -> any Change {
    guard let grammar = grammars.first(where: { words.starts(with: $0.words) }) else {
      let given = words.prefix(2).joined(separator: " ")
      let known = grammars.map { $0.words.joined(separator: " ") }
      throw ControlError(
        .usage, "'\(given)' is no command for a file",
        mend: Nearest.mend(for: given, among: known) ?? "a file takes: \(known.joined(separator: ", "))")
    }
    return try parse(words, with: grammar)
  }

  private static func parse<G: ChangeGrammar>(
    _ words: [String], with grammar: G.Type
  ) throws(ControlError) -> any Change {
    let parsed: G
    do {
      parsed = try G.parse(Array(words.dropFirst(G.words.count)))
    } catch {
      // A request for help is thrown as well, and is no command either.
      let isHelp = G.exitCode(for: error) == .success
      throw ControlError(
        .usage, isHelp ? "a file cannot ask for help" : G.message(for: error),
        mend: "'flowctl \(G.words.joined(separator: " ")) --help' tells more")
    }
    return try parsed.request()
  }
}
