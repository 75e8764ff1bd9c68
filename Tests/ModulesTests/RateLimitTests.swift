import Engine
import ModuleTesting
import Testing

@testable import Modules

struct RateLimitTests {
  private let octets = (0..<200_000).map { UInt8(truncatingIfNeeded: $0 / 7) }

  @Test func changesNothingAndLosesNothing() throws {
    for runsAsThread in [false, true] {
      try check(
        RateLimit.self, ["rate": "1000", "burst": "100"], on: octets.prefix(3_000), runsAsThread: runsAsThread
      ) { $0 }
    }
  }

  @Test func letsTheBurstGoAtOnceAndTheRestAtTheRate() throws {
    let bench = try Bench(RateLimit.self, ["rate": "10000", "burst": "5000"])
    bench.feed(octets.prefix(60_000))
    #expect(bench.output.count == 5_000)
    bench.pass(.seconds(1))
    #expect((13_000...15_000).contains(bench.output.count))
    bench.pass(.seconds(3))
    #expect((43_000...45_000).contains(bench.output.count))
    bench.pass(.seconds(10))
    #expect(bench.output == Array(octets.prefix(60_000)))
    // Meanwhile it has filled again.
    bench.feed(octets.prefix(6_000))
    #expect(bench.output.count == 65_000)
  }

  @Test(arguments: [false, true])
  func keepsTheEndOfTheStreamBehindWhatWaits(runsAsThread: Bool) throws {
    let bench = try Bench(RateLimit.self, ["rate": "1000", "burst": "1000"], runsAsThread: runsAsThread)
    bench.feed(octets.prefix(3_000), isEnded: true)
    bench.pass(.seconds(1))
    #expect((1_500...2_000).contains(bench.output.count))
    #expect(!bench.isFinished)
    bench.pass(.seconds(2))
    #expect(bench.output.count == 3_000)
    #expect(bench.isFinished)
    #expect(bench.count("forced_releases") == 0)
  }

  @Test func isAsSlowAsItIsTold() throws {
    let bench = try Bench(RateLimit.self, ["rate": "1", "burst": "1"])
    bench.feed("abcdef", isEnded: true)
    bench.pass(.seconds(3))
    #expect(bench.output.text == "abcd")
    bench.pass(.seconds(2))
    #expect(bench.isFinished)
  }

  @Test func dropsDatagramsAboveTheRate() throws {
    let bench = try Bench(RateLimit.self, ["rate": "1000", "burst": "1000"])
    #expect(bench.datagram(octets.prefix(600)) == Array(octets.prefix(600)))
    #expect(bench.datagram(octets.prefix(600)) == nil)
    #expect(bench.datagram(octets.prefix(400))?.count == 400)
    bench.pass(.milliseconds(600))
    #expect(bench.datagram(octets.prefix(600))?.count == 600)
    #expect(bench.count("datagrams_dropped") == 1)
  }

  @Test func takesAnotherRateMeanwhile() throws {
    let bench = try Bench(RateLimit.self, ["rate": "10", "burst": "10"])
    bench.feed(octets.prefix(20_000))
    try bench.set(["rate": "1000000", "burst": "10"])
    bench.pass(.seconds(2))
    #expect(bench.output.count == 20_000)
  }

  @Test func letsGoWhatWaitsWhenItIsDetached() throws {
    let bench = try Bench(RateLimit.self, ["rate": "10", "burst": "10"])
    bench.feed(octets.prefix(20_000), isEnded: true)
    #expect(bench.retire())
    #expect(bench.output.count == 20_000)
    #expect(bench.isFinished)
  }
}
