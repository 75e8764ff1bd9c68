import Engine
import ModuleTesting
import Testing

@testable import Modules

struct DelayTests {
  @Test func changesNothingAndLosesNothing() throws {
    try check(Delay.self, ["time": "70"], on: (0..<1_000).map { UInt8(truncatingIfNeeded: $0 / 3) }) { $0 }
  }

  @Test func letsEachPieceGoWhenItsTimeHasCome() throws {
    let bench = try Bench(Delay.self, ["time": "1000"])
    bench.feed("one ")
    bench.pass(.milliseconds(600))
    bench.feed("two", isEnded: true)
    #expect(bench.output.isEmpty)
    bench.pass(.milliseconds(600))
    #expect(bench.output.text == "one ")
    #expect(!bench.isFinished)
    bench.pass(.milliseconds(600))
    #expect(bench.output.text == "one two")
    #expect(bench.isFinished)
  }

  @Test func takesAnotherTimeForWhatIsToCome() throws {
    let bench = try Bench(Delay.self, ["time": "1000"])
    bench.feed("one ")
    try bench.set(["time": "10"])
    bench.feed("two")
    bench.pass(.milliseconds(900))
    #expect(bench.output.isEmpty)
    bench.pass(.milliseconds(100))
    #expect(bench.output.text == "one two")
  }
}
