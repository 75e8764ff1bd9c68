import Engine
import ModuleTesting
import Testing

/// Does what the bytes say.
private struct Puppet: ProcessingModule {
  static let description = ModuleDescription(
    kind: "puppet", access: .edit, peer: true,
    parameters: [Parameter("word", .bytes, default: "!", help: "what is put in the place of ?")], counters: ["words"],
    help: "Does what the bytes say.")
  private var word: [UInt8]
  private var isBusy = false

  init(_ arguments: Arguments) { word = arguments.bytes("word") }

  mutating func process(_ window: inout Window) throws {
    isBusy = window.find("busy") != nil || (isBusy && window.find("done") == nil)
    if window.find("offload") != nil { window.offload() }
    if window.find("drop") != nil { window.drop() }
    if window.find("reset") != nil { window.reset() }
    if window.find("throw") != nil { throw ArgumentError("as it was told") }
    if window.find("tell") != nil { window.emit("told", ["octets": "\(window.count)"]) }
    if window.find("hold") != nil, !window.mustRelease { return }
    while let place = window.find("?") {
      window.replace(place..<place + 1, with: word)
      window.count(0)
    }
    window.releaseAll()
  }

  mutating func processPeer(_ window: inout Window) {
    window.insert("<", at: 0)
    window.releaseAll()
  }

  mutating func adopt(_ prototype: Self) { word = prototype.word }
  mutating func retire() -> Bool { !isBusy }
}

struct BenchTests {
  @Test func showsWhatComesOutOfBothDirections() throws {
    let bench = try Bench(Puppet.self, ["word": "you"])
    bench.feed("who is ")
    bench.feedPeer("me")
    bench.feed("?", isEnded: true)
    #expect(bench.output == Array("who is you".utf8))
    #expect(bench.peerOutput == Array("<me".utf8))
    #expect(bench.isFinished)
    #expect(bench.count("words") == 1)
    #expect(bench.count("edits") == 2)
    #expect(bench.count("nothing") == nil)
  }

  @Test func takesMoreThanAPacketHolds() throws {
    let octets = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 / 251) | 0x80 }
    let bench = try Bench(Puppet.self)
    bench.feed(octets, isEnded: true)
    #expect(bench.output == octets)
    #expect(bench.isFinished)
  }

  @Test func letsTimeGoBy() throws {
    let bench = try Bench(Puppet.self)
    bench.feed("hold?")
    #expect(bench.held == 5)
    bench.pass(.milliseconds(150))
    #expect(bench.output.isEmpty)
    bench.expire()
    #expect(bench.output == Array("hold!".utf8))
  }

  @Test func tellsOfEventsAndFailures() throws {
    let bench = try Bench(Puppet.self)
    bench.feed("tell")
    #expect(bench.events == [ModuleEvent.Content("told", ["octets": "4"])])
    bench.feed("throw?")
    #expect(bench.state == "failed: it threw: as it was told")
    #expect(bench.output == Array("tellthrow?".utf8))
    bench.feed("?")
    #expect(bench.output == Array("tellthrow??".utf8))
  }

  @Test func tellsWhatBecameOfTheConnection() throws {
    let dropped = try Bench(Puppet.self)
    dropped.feed("drop")
    #expect(dropped.isDropped && !dropped.isReset)
    let reset = try Bench(Puppet.self)
    reset.feed("reset")
    #expect(reset.isReset && !reset.isDropped)
    let failed = try Bench(Puppet.self, cutsOffFailures: true)
    failed.feed("throw")
    #expect(failed.isDropped)
    let offloaded = try Bench(Puppet.self)
    offloaded.feed("offload?")
    offloaded.feed("?")
    #expect(offloaded.state == "offloaded")
    #expect(offloaded.output == Array("offload!?".utf8))
  }

  @Test func showsWhatBecomesOfDatagrams() throws {
    let bench = try Bench(Puppet.self, ["word": "you"])
    #expect(bench.datagram("who is?".utf8) == Array("who isyou".utf8))
    #expect(bench.datagram("me".utf8, isPeer: true) == Array("<me".utf8))
    #expect(bench.datagram("hold".utf8) == Array("hold".utf8))
    #expect(bench.datagram("drop".utf8) == nil)
    #expect(bench.count("words") == 1)
  }

  @Test func setsAndDetaches() throws {
    let bench = try Bench(Puppet.self)
    bench.feed("busy?")
    try bench.set(["word": "&"])
    bench.feed("?")
    #expect(!bench.retire())
    bench.feed("busy? done?")
    bench.feed("done?")
    #expect(bench.retire())
    bench.feed("?")
    #expect(bench.output == Array("busy!&busy& done&done&?".utf8))
  }

  @Test func refusesWrongArguments() throws {
    #expect(throws: ArgumentError.self) { try Bench(Puppet.self, ["wrod": "x"]) }
  }
}

/// Written like a program that reads from a socket: replaces the octet before each !.
private struct Reader: ProcessingModule {
  static let description = ModuleDescription(
    kind: "reader", access: .edit, needsThread: true,
    parameters: [Parameter("word", .bytes, default: "?", help: "what")], counters: ["words"],
    help: "Reads like a program.")
  private let word: [UInt8]

  init(_ arguments: Arguments) { word = arguments.bytes("word") }

  mutating func run(_ window: inout Window) {
    while window.read() {
      while let place = window.find("!") {
        window.replace(place..<place + 1, with: word)
        window.count(0)
      }
      window.releaseAll()
    }
  }
}

struct ThreadBenchTests {
  private func questioned(_ bytes: [UInt8]) -> [UInt8] {
    bytes.map { $0 == UInt8(ascii: "!") ? UInt8(ascii: "?") : $0 }
  }

  @Test func checksAModuleThatReads() throws {
    try check(Reader.self, on: "Hello! You! there!!".utf8, equals: questioned)
  }

  @Test func checksAModuleOfCallsOnAThread() throws {
    try check(Puppet.self, on: "Hello? You? there??".utf8, runsAsThread: true) { bytes in
      bytes.map { $0 == UInt8(ascii: "?") ? UInt8(ascii: "!") : $0 }
    }
  }

  @Test func waitsUntilTheModuleWaits() throws {
    let bench = try Bench(Reader.self)
    bench.feed("one!")
    #expect(bench.output == Array("one?".utf8))
    #expect(bench.count("words") == 1)
    try bench.set(["word": "."])
    bench.feed(" two!")
    #expect(bench.output == Array("one? two.".utf8))
    #expect(bench.retire())
    bench.feed(" three!", isEnded: true)
    #expect(bench.output == Array("one? two. three!".utf8))
    #expect(bench.isFinished)
  }

  @Test func letsTimeGoByForOneOnAThread() throws {
    let bench = try Bench(Puppet.self, runsAsThread: true)
    bench.feed("hold?")
    bench.pass(.milliseconds(150))
    #expect(bench.output.isEmpty)
    bench.expire()
    #expect(bench.output == Array("hold!".utf8))
  }
}
