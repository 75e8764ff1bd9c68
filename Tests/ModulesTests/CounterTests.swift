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
}
