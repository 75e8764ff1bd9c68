import Glibc
import ModuleTesting
import Testing

@testable import Engine

/// Modules written like a program that reads: `run(_:)` on real threads.
@Suite struct ReadingTests {
  /// Puts its mark in the place of each `x`. Letters in the stream have it do other things.
  private struct Marker: ProcessingModule {
    static let description = ModuleDescription(
      kind: "marker", access: .edit, needsThread: true, counters: ["marks"], help: "-")

    struct Trouble: Error {}

    var mark: String
    var gate = Gate()

    init(_ arguments: Arguments) { self.init("") }
    init(_ mark: String, gate: Gate = Gate()) {
      self.mark = mark
      self.gate = gate
    }

    mutating func run(_ window: inout Window) throws {
      while window.read() {
        if window.find("g") != nil { gate.pass() }
        if window.find("t") != nil { throw Trouble() }
        var at = 0
        while let found = window.find("x", from: at) {
          window.replace(found..<found + 1, with: Array(mark.utf8))
          window.count(0)
          at = found + mark.utf8.count
        }
        // Waits for the rest of a line that begins with `h`.
        if window.find("h") == 0, !window.mustRelease { continue }
        window.releaseAll()
        if window.find("q") != nil { return }
      }
    }
  }

  private static func established(
    _ module: Marker, _ threads: RealThreads, onFail: Flow.FailurePolicy = .pass
  ) throws -> Conversation {
    try .working([[AttachedModule(1, module, run: .thread)]], onFail: onFail, threads: threads)
  }

  /// Threads that are not wanted any more end, by themselves.
  private static func expectEnd(_ threads: RealThreads, _ talk: inout Conversation) {
    for _ in 0..<20_000 where threads.count > 0 { usleep(500) }
    #expect(threads.count == 0)
    _ = talk.collect()
    let memory = talk.box.engine.statistics.memoryInUse
    #expect(memory < 1 << 20)
  }

  @Test func editsUpToTheEndOfTheStream() throws {
    let threads = RealThreads()
    var talk = try Self.established(Marker("yy"), threads)
    #expect(talk.fromServer(0, "axb").out == [])
    #expect(talk.collect { !$0.text.isEmpty }.map(\.summary) == ["server P. 0 ack 0 'ayyb'"])
    #expect(talk.fromServer(3, "x", flags: [.ack, .fin]).out == [])
    let end = talk.collect { $0.hasFinish }
    #expect(end.text == "yy" && end.hasFinish)
    #expect(talk.fromClient(0, acknowledging: 7).out == ["client . 0 ack 5"])
    Self.expectEnd(threads, &talk)
    #expect(talk.box.engine.statistics.modules[1]?.own == [2])
  }

  @Test func newParametersBeginTheReadingAnew() throws {
    let threads = RealThreads()
    var talk = try Self.established(Marker("yy"), threads)
    _ = talk.fromServer(0, "ax")
    #expect(talk.collect { !$0.isEmpty }.text == "ayy")
    try talk.configure([[AttachedModule(1, Marker("z"), run: .thread, revision: 1)]])
    _ = talk.fromServer(2, "bx")
    #expect(talk.collect { !$0.isEmpty }.text == "bz")
    #expect(talk.states == ["working"])
  }

  @Test func newParametersHoldForWhatHasNotBeenReleased() throws {
    let threads = RealThreads()
    let gate = Gate()
    var talk = try Self.established(Marker("yy", gate: gate), threads)
    // Held, though already edited.
    _ = talk.fromServer(0, "hgx")
    gate.awaitVisitor()
    try talk.configure([[AttachedModule(1, Marker("z", gate: gate), run: .thread, revision: 1)]])
    gate.open()
    _ = talk.fromServer(3, "x", flags: [.ack, .fin])
    let end = talk.collect { $0.hasFinish }
    #expect(end.text == "hgyyz" && end.hasFinish)
  }

  @Test func newParametersThatComeWithTheEndAreHeeded() throws {
    let threads = RealThreads()
    let gate = Gate()
    var talk = try Self.established(Marker("yy", gate: gate), threads)
    _ = talk.fromServer(0, "gx")
    gate.awaitVisitor()
    try talk.configure([[AttachedModule(1, Marker("z", gate: gate), run: .thread, revision: 1)]])
    _ = talk.fromServer(2, "bx", flags: [.ack, .fin])
    gate.open()
    let end = talk.collect { $0.hasFinish }
    #expect(end.text == "gyybz" && end.hasFinish)
    Self.expectEnd(threads, &talk)
  }

  @Test func detachingLetsTheCallComeToItsEnd() throws {
    let threads = RealThreads()
    let gate = Gate()
    var talk = try Self.established(Marker("yy", gate: gate), threads)
    _ = talk.fromServer(0, "agx")
    gate.awaitVisitor()
    try talk.configure([])
    #expect(talk.fromServer(3, "bx").out == [])
    gate.open()
    #expect(talk.collect { $0.text.count >= 6 }.text == "agyybx")
    #expect(talk.fromServer(5, "x").out == ["server . 6 ack 0 'x'"])
    #expect(talk.states == [])
    Self.expectEnd(threads, &talk)
  }

  @Test func whatComesBehindAReadingThatIsOverPasses() throws {
    let threads = RealThreads()
    var talk = try Self.established(Marker("yy"), threads)
    _ = talk.fromServer(0, "axq")
    #expect(talk.collect { !$0.isEmpty }.text == "ayyq")
    Self.expectEnd(threads, &talk)
    #expect(talk.states == ["offloaded"])
    #expect(talk.fromServer(3, "x").out == ["server . 4 ack 0 'x'"])
    #expect(talk.box.engine.statistics.engine.moduleFailures == 0)
  }

  @Test(arguments: Flow.FailurePolicy.allCases) func aReadingThatThrowsHasFailed(policy: Flow.FailurePolicy) throws {
    let threads = RealThreads()
    var talk = try Self.established(Marker("yy"), threads, onFail: policy)
    _ = talk.fromServer(0, "ax")
    #expect(talk.collect { !$0.isEmpty }.text == "ayy")
    _ = talk.fromClient(0, acknowledging: 3)
    _ = talk.fromServer(2, "xt")
    for _ in 0..<20_000 where threads.count > 0 { usleep(500) }
    let out = talk.collect().map(\.summary)
    let behind = talk.fromServer(4, "x").out
    switch policy {
    case .pass:
      #expect(out == ["server P. 3 ack 0 'xt'"])
      #expect(behind == ["server . 5 ack 0 'x'"])
      #expect(talk.states == ["failed: it threw: Trouble()"])
    case .drop:
      #expect(out == [] && behind == [])
    case .reset:
      #expect(out == ["client R. 0 ack 2", "server R. 3 ack 0"] && behind == [])
    }
    let counters = talk.box.engine.statistics.engine
    #expect(counters.moduleFailures == 1 && counters.cut == (policy == .pass ? 0 : 1))
    #expect(
      talk.box.events.map(\.content)
        == [.init("failed", ["reason": "it threw: Trouble()", "policy": policy.rawValue])])
    Self.expectEnd(threads, &talk)
  }

  /// Would read from one direction and be shown the other.
  private struct Both: ProcessingModule {
    static let description = ModuleDescription(
      kind: "both", access: .read, peer: true, needsThread: true, help: "-")
    init(_ arguments: Arguments) {}
    init() {}
  }

  @Test func whoReadsHasNoPeerDirection() throws {
    let threads = RealThreads()
    var talk = try Conversation.working([[AttachedModule(1, Both(), run: .thread)]], threads: threads)
    #expect(talk.fromClient(0, "ab", acknowledging: 0).out == ["client . 0 ack 0 'ab'"])
    #expect(talk.fromServer(0, "c", acknowledging: 2).out == ["server . 0 ack 2 'c'"])
    #expect(talk.states == ["failed: it reads from one stream, and asks for the peer direction too"])
  }
}
