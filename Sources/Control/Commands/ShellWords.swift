/// Splits text into the words of commands as a POSIX shell does, and quotes words so that they come back whole.
///
/// POSIX.1-2017, Shell Command Language, 2.2 Quoting and 2.3 Token Recognition: blanks separate words, a newline ends a
/// command, `#` at the start of a word begins a comment, single quotes keep everything, double quotes keep everything
/// but a backslash before `$`, `` ` ``, `"`, `\` and newline, a backslash keeps the next character, and a backslash
/// before a newline joins lines. Nothing is expanded, and `;`, `|`, `&`, `<`, `>` and parentheses are ordinary
/// characters.
public enum ShellWords {
  /// The words of one command, and the line of its first word, from 1.
  public struct Line: Equatable, Sendable {
    public var number: Int
    public var words: [String]

    public init(number: Int, words: [String]) {
      self.number = number
      self.words = words
    }
  }

  /// A quotation that does not end, or a backslash at the very end.
  public struct SplitError: Error, Equatable {
    /// The line it begins on, from 1.
    public var line: Int
    public var what: String
  }

  /// The commands in `text`; lines without words are left out.
  public static func split(_ text: String) throws(SplitError) -> [Line] {
    var splitter = Splitter()
    return try splitter.split(text)
  }

  /// `words` as one line that ``split(_:)``, or a shell, splits into the same words.
  public static func join(_ words: [String]) -> String { words.map(quote).joined(separator: " ") }

  /// `word` as it is where it is plain, else in single quotes.
  public static func quote(_ word: String) -> String {
    let isPlain =
      !word.isEmpty
      && word.utf8.allSatisfy { octet in
        switch octet {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"):
          true
        default: "_@%+=:,./-".utf8.contains(octet)
        }
      }
    if isPlain { return word }
    return "'" + word.unicodeScalars.map { $0 == "'" ? "'\\''" : String($0) }.joined() + "'"
  }
}

/// The state of splitting, one scalar at a time: a grapheme may join a quotation mark with what follows it.
private struct Splitter {
  private enum Quotation { case none, single, double }

  private var lines: [ShellWords.Line] = []
  private var words: [String] = []
  /// The word that is being read; nil between words.
  private var word: String.UnicodeScalarView?
  private var number = 1
  private var firstLine = 1
  private var quotation = Quotation.none
  private var quotationLine = 1

  mutating func split(_ text: String) throws(ShellWords.SplitError) -> [ShellWords.Line] {
    let scalars = text.unicodeScalars
    var index = scalars.startIndex

    func next() -> Unicode.Scalar? {
      guard index < scalars.endIndex else { return nil }
      defer { index = scalars.index(after: index) }
      return scalars[index]
    }

    while let scalar = next() {
      switch (quotation, scalar) {
      case (.single, "'"), (.double, "\""): quotation = .none
      case (.single, _): append(scalar)
      case (.double, "\\"):
        guard let escaped = next() else { break }
        switch escaped {
        case "$", "`", "\"", "\\": append(escaped)
        case "\n": number += 1
        default:
          append(scalar)
          append(escaped)
        }
      case (.double, _): append(scalar)
      case (.none, "\\"):
        guard let escaped = next() else {
          throw ShellWords.SplitError(line: number, what: "a backslash stands before nothing")
        }
        if escaped == "\n" { number += 1 } else { append(escaped) }
      case (.none, "'"): open(.single)
      case (.none, "\""): open(.double)
      case (.none, " "), (.none, "\t"): endWord()
      case (.none, "\r") where index < scalars.endIndex && scalars[index] == "\n": endWord()
      case (.none, "\n"):
        endLine()
        number += 1
      case (.none, "#") where word == nil:
        while index < scalars.endIndex, scalars[index] != "\n" { index = scalars.index(after: index) }
      case (.none, _): append(scalar)
      }
    }
    guard quotation == .none else {
      throw ShellWords.SplitError(line: quotationLine, what: "the quotation that begins here does not end")
    }
    endLine()
    return lines
  }

  private mutating func open(_ quotation: Quotation) {
    self.quotation = quotation
    quotationLine = number
    begin()
  }

  /// Makes sure that there is a word: `''` is one.
  private mutating func begin() {
    guard word == nil else { return }
    word = String.UnicodeScalarView()
    if words.isEmpty { firstLine = number }
  }

  private mutating func append(_ scalar: Unicode.Scalar) {
    begin()
    word?.append(scalar)
    if quotation != .none, scalar == "\n" { number += 1 }
  }

  private mutating func endWord() {
    guard let word else { return }
    words.append(String(word))
    self.word = nil
  }

  private mutating func endLine() {
    endWord()
    guard !words.isEmpty else { return }
    lines.append(ShellWords.Line(number: firstLine, words: words))
    words = []
  }
}
