import Engine
import Glibc
import ModuleTesting
import Testing

@testable import Modules

struct PatternListTests {
  /// Calls `body` with the path of a file that holds `text`.
  private func withFile(_ text: String, _ body: (String) throws -> Void) throws {
    var template = Array("/tmp/flowos-list-XXXXXX".utf8CString)
    let file = unsafe mkstemp(&template)
    try #require(file >= 0)
    let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer { unsafe unlink(path) }
    let bytes = Array(text.utf8)
    _ = unsafe bytes.withUnsafeBytes { unsafe write(file, $0.baseAddress, $0.count) }
    close(file)
    try body(path)
  }

  @Test func readsALineAPattern() throws {
    try withFile("# ads\n\n  tracker.js \r\nAds/\n#x\nlast") { path in
      let patterns = try PatternList.read(path)
      #expect(patterns.map(\.bytes.text) == ["tracker.js", "ads/", "last"])
    }
  }

  @Test(arguments: [
    ("", "has no pattern in it; put one on a line, as in: doubleclick"),
    ("# only\n\n", "has no pattern in it; put one on a line, as in: doubleclick"),
    ("a\n" + String(repeating: "b", count: 257), "line 2: the pattern has 257 octets, more than 256"),
    ("a\n\nb>c", "line 3: a pattern with '>' never matches, for a tag ends there"),
    (String(repeating: "a\n", count: 1_025), "has 1025 patterns, more than 1024"),
    (String(repeating: "#\n", count: 32_769), "has more than 65536 octets"),
  ])
  func refuses(text: String, reason: String) throws {
    try withFile(text) { path in
      #expect(throws: ArgumentError("list '\(path)' \(reason)")) { try PatternList.read(path) }
    }
  }

  @Test(arguments: [
    ("/nonexistent/list", "cannot be read: No such file or directory"), ("/tmp", "cannot be read: Is a directory"),
  ])
  func refusesWhatIsNoFile(path: String, reason: String) throws {
    #expect(throws: ArgumentError("list '\(path)' \(reason)")) { try PatternList.read(path) }
  }

  @Test func adblockTakesTheList() throws {
    try withFile("tracker\n") { path in
      let bench = try Bench(AdBlock.self, ["list": path])
      bench.feedPeer(Array("GET / HTTP/1.1\r\n\r\n".utf8))
      let page = "<script src=Tracker.js></script><script src=pagead></script>"
      bench.feed(Array("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n\(page)".utf8), isEnded: true)
      #expect(bench.output.text.hasSuffix("\r\n\r\n<script src=pagead></script>"))
    }
  }
}
