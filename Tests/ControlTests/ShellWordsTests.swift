import Control
import ModuleTesting
import Testing

@Suite("Words of the shell")
struct ShellWordsTests {
  @Test(
    "Words split as a POSIX shell splits them",
    arguments: [
      ("", []), ("   \t ", []), ("# only a comment", []),
      ("a b", ["a", "b"]), ("  a\t b  ", ["a", "b"]),
      ("a #comment", ["a"]), ("a#b", ["a#b"]), ("a '#' b", ["a", "#", "b"]), ("a \\#b", ["a", "#b"]),
      ("'a b'c", ["a bc"]), ("''", [""]), ("to='' x", ["to=", "x"]), ("\"\"", [""]),
      ("'from=\\x00\\x01' 'to='", ["from=\\x00\\x01", "to="]),
      ("\"a\\\"b\\\\c\\$d\\`e\\nf\"", ["a\"b\\c$d`e\\nf"]),
      ("a\\ b \\'c", ["a b", "'c"]), ("$HOME `x` *", ["$HOME", "`x`", "*"]),
      ("a;b|c&d", ["a;b|c&d"]), ("from=a=b", ["from=a=b"]),
      ("a \\\n b", ["a", "b"]), ("a\\\nb", ["ab"]), ("\"a\\\nb\"", ["ab"]), ("'a\nb'", ["a\nb"]),
      ("'it'\\''s'", ["it's"]), ("größe='ü b'", ["größe=ü b"]), ("'e'\u{301}x", ["e\u{301}x"]),
    ] as [(String, [String])])
  func split(text: String, words: [String]) throws {
    #expect(try ShellWords.split(text).flatMap(\.words) == words)
  }

  @Test("Each command knows the line on which it begins")
  func numbers() throws {
    let text = "a\n\n# c\nb \\\n c\n'd\nd' e\r\nf"
    #expect(
      try ShellWords.split(text) == [
        .init(number: 1, words: ["a"]), .init(number: 4, words: ["b", "c"]), .init(number: 6, words: ["d\nd", "e"]),
        .init(number: 8, words: ["f"]),
      ])
  }

  @Test(
    "What does not end is refused where it begins",
    arguments: [("a\n'b\nc", 2), ("a\nb \"c", 2), ("a\nb\\", 2), ("\"a\\", 1)])
  func refusals(text: String, line: Int) {
    let error = #expect(throws: ShellWords.SplitError.self) { try ShellWords.split(text) }
    #expect(error?.line == line)
  }

  @Test("Quoting and then splitting gives the same words")
  func identity() throws {
    var random = SplitMix(seed: 1)
    let alphabet = Array("ab=x,0\\'\"#$`* \t\n\r;|&<>()é~\u{301}".unicodeScalars)
    for _ in 0..<2000 {
      let words = (0..<Int.random(in: 1...5, using: &random)).map { _ in
        var word = String.UnicodeScalarView()
        for _ in 0..<Int.random(in: 0...8, using: &random) { word.append(alphabet.randomElement(using: &random)!) }
        return String(word)
      }
      let lines = try ShellWords.split(ShellWords.join(words))
      #expect(lines.map { $0.words.map { Array($0.utf8) } } == [words.map { Array($0.utf8) }])
    }
  }

  @Test("Plain words stay as they are")
  func plain() {
    #expect(
      ShellWords.join(["flow", "add", "web", "tcp,tcp_dst=80", "from=a b", "to="])
        == "flow add web tcp,tcp_dst=80 'from=a b' to=")
  }
}
