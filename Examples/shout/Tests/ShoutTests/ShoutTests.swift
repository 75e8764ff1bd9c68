import ModuleTesting
import Testing

@testable import flowos_shout

struct ShoutTests {
  @Test func doublesHoweverTheStreamIsCut() throws {
    try check(Shout.self, on: "Hello! Is this on!? Yes!!".utf8) { stream in
      stream.flatMap { $0 == UInt8(ascii: "!") ? [$0, $0] : [$0] }
    }
  }

  @Test func whispersHoweverTheStreamIsCut() throws {
    try check(Whisper.self, on: "HELLO\nYou THERE\n\nbye".utf8) { stream in
      Array(String(decoding: stream, as: UTF8.self).lowercased().utf8)
    }
  }

  @Test func redactsHoweverTheStreamIsCut() throws {
    try check(Redact.self, ["word": "secret"], on: "a Secret, sec, secretsecret sec".utf8) { _ in
      Array("a ******, sec, ************ sec".utf8)
    }
  }

  @Test func holdsHalfAWordAndNotForLong() throws {
    let bench = try Bench(Redact.self, ["word": "secret"])
    bench.feed("my secr")
    #expect(bench.output == Array("my ".utf8))
    #expect(bench.held == 4)
    bench.expire()
    #expect(bench.output == Array("my secr".utf8))
    bench.feed("et secret", isEnded: true)
    #expect(bench.output == Array("my secret ******".utf8))
    #expect(bench.count("words") == 1)
    bench.feedPeer("", isEnded: true)
    #expect(bench.events.map(\.name) == ["redacted", "over"])
  }
}
