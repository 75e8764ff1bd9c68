import Engine
import ModuleTesting
import Testing

@testable import Modules

struct CounterTests {
  @Test func countsAndChangesNothing() throws {
    let bench = try Bench(Counter.self)
    bench.feed(Array("hello ".utf8))
    bench.feed(Array("world".utf8), isEnded: true)
    #expect(bench.output.text == "hello world")
    #expect(bench.count("octets") == 11)
    #expect(bench.count("windows") == 2)
  }

  @Test func leavesTheConnectionAloneBeyondItsLimit() throws {
    let bench = try Bench(Counter.self, ["limit": "8"])
    bench.feed("hello ")
    #expect(!bench.isOffloaded)
    bench.feed("world")
    bench.pass(.seconds(1))
    bench.feed("!")
    #expect(bench.isOffloaded)
    #expect(bench.output.text == "hello world!")
    #expect(bench.count("octets") == 11)
  }

  @Test func goesOnCountingUpToAnotherLimit() throws {
    let bench = try Bench(Counter.self)
    bench.feed("hello ")
    try bench.set(["limit": "8"])
    bench.feed("wo")
    #expect(bench.state == "offloaded")
    #expect(bench.count("octets") == 8)
  }
}
