import Glibc
import ModuleTesting
import Testing

@testable import Engine

/// Modules tell of the changes of their connection, also when that is gone.
@Suite struct ChangeReportTests {
  /// What all of them tell: what has happened, and what they had seen by then.
  private struct Tale {
    private var octets = 0

    mutating func see(_ window: inout Window) {
      octets += window.count
      window.releaseAll()
    }

    mutating func tell(_ change: ConnectionChange, _ report: inout Report) {
      report.count(0)
      report.emit("change", ["what": "\(change)", "octets": "\(octets)"])
    }
  }

  private struct Reader: ProcessingModule {
    static let description = ModuleDescription(
      kind: "reader", access: .read, peer: true, counters: ["changes"], help: "-")
    private var tale = Tale()
    init(_ arguments: Arguments) {}
    init() {}
    mutating func process(_ window: inout Window) { tale.see(&window) }
    mutating func processPeer(_ window: inout Window) { tale.see(&window) }
    mutating func connection(_ change: ConnectionChange, _ report: inout Report) { tale.tell(change, &report) }
  }

  private struct OfSegments: ProcessingModule {
    static let description = ModuleDescription(
      kind: "of-segments", layer: .tcp, access: .read, counters: ["changes"], help: "-")
    private var tale = Tale()
    init(_ arguments: Arguments) {}
    init() {}
    mutating func process(_ window: inout Window) {}
    mutating func connection(_ change: ConnectionChange, _ report: inout Report) { tale.tell(change, &report) }
  }

  /// Counts what it has no counter for.
  private struct Miscounting: ProcessingModule {
    static let description = ModuleDescription(kind: "miscounting", access: .read, help: "-")
    init(_ arguments: Arguments) {}
    init() {}
    mutating func connection(_ change: ConnectionChange, _ report: inout Report) {
      if change == .halfClosed(.toClient) { report.count(3) }
    }
  }

  private static func talk(
    _ module: some ProcessingModule, _ run: AttachedModule.RunMode, _ threads: ManualThreads
  ) throws -> Conversation {
    try .working([[AttachedModule(1, module, run: run)]], threads: threads)
  }

  private static func told(_ talk: borrowing Conversation) -> [String] {
    talk.box.events.map { "\($0.content.fields["what"] ?? $0.content.name) \($0.content.fields["octets"] ?? "-")" }
  }

  private static func settle(_ talk: inout Conversation, _ threads: ManualThreads) {
    for _ in 0..<3 {
      threads.stepAll()
      _ = talk.collect()
    }
  }

  @Test(arguments: [AttachedModule.RunMode.inline, .thread])
  func tellsOfTheEndBehindItsLastOctets(run: AttachedModule.RunMode) throws {
    let threads = ManualThreads()
    var talk = try Self.talk(Reader(), run, threads)
    _ = talk.fromServer(0, "abc")
    Self.settle(&talk, threads)
    _ = talk.fromServer(3, "de", flags: [.ack, .fin])
    Self.settle(&talk, threads)
    _ = talk.fromClient(0, "xy", acknowledging: 6, flags: [.ack, .fin])
    Self.settle(&talk, threads)
    _ = talk.fromServer(6, "", acknowledging: 3)
    Self.settle(&talk, threads)
    let told = Self.told(talk)
    #expect(told.first == "opened 0" && told.last == "closed 7")
    #expect(talk.box.engine.statistics.modules[1]?.own == [UInt64(told.count)])
    #expect(Set(talk.box.events.map(\.connection)).count == 1)
  }

  @Test(arguments: [AttachedModule.RunMode.inline, .thread])
  func tellsOfAReset(run: AttachedModule.RunMode) throws {
    let threads = ManualThreads()
    var talk = try Self.talk(Reader(), run, threads)
    _ = talk.fromServer(0, "abc")
    _ = talk.fromServer(3, "", flags: [.rst])
    Self.settle(&talk, threads)
    #expect(Self.told(talk) == ["opened 0", "reset 3"])
  }

  @Test(arguments: [AttachedModule.RunMode.inline, .thread])
  func tellsOfItsConnectionBeingKilled(run: AttachedModule.RunMode) throws {
    let threads = ManualThreads()
    var talk = try Self.talk(Reader(), run, threads)
    _ = talk.fromServer(0, "abc")
    Self.settle(&talk, threads)
    let id = try #require(talk.box.engine.connections(limit: 1).first?.id)
    let isKilled = talk.box.engine.kill(connection: id, at: talk.now)
    #expect(isKilled)
    // It is forgotten before the thread has its turn.
    _ = talk.pass(.seconds(120))
    #expect(talk.box.engine.statistics.connections == 0)
    Self.settle(&talk, threads)
    #expect(Self.told(talk) == ["opened 0", "reset 3"])
    #expect(talk.box.events.map(\.connection) == [id, id])
    #expect(talk.box.engine.statistics.modules[1]?.own == [2])
  }

  /// What is only read has left before its reader has seen it.
  @Test func tellsOfTheEndLastThoughItIsLate() throws {
    let threads = ManualThreads()
    var settings = Settings()
    settings.threads = threads
    var talk = try Conversation([], settings: settings)
    try talk.configure([[AttachedModule(1, Reader(), run: .thread)]])
    // Nobody has seen it open.
    _ = talk.fromServer(0, "abc")
    _ = talk.fromClient(0, "xy", acknowledging: 3, flags: [.ack, .fin])
    _ = talk.fromServer(3, "de", acknowledging: 3, flags: [.ack, .fin])
    _ = talk.fromClient(3, "", acknowledging: 6)
    Self.settle(&talk, threads)
    #expect(Self.told(talk).last == "closed 7")
  }

  @Test(arguments: [AttachedModule.RunMode.inline, .thread])
  func modulesOfSegmentsTellToo(run: AttachedModule.RunMode) throws {
    let threads = ManualThreads()
    var talk = try Conversation.working([], threads: threads)
    try talk.configure([[AttachedModule(1, OfSegments(), run: run)]])
    _ = talk.fromServer(0, "", flags: [.rst])
    Self.settle(&talk, threads)
    #expect(Self.told(talk).last == "reset 0")
    #expect(talk.box.engine.statistics.modules[1]?.own == [UInt64(Self.told(talk).count)])
  }

  @Test(arguments: [AttachedModule.RunMode.inline, .thread])
  func associationsEndWhenTheyAreForgotten(run: AttachedModule.RunMode) throws {
    let threads = ManualThreads()
    var settings = Settings()
    settings.threads = threads
    var box = Middlebox(settings)
    let match = try Match(parsing: "udp", portNamed: { _ in nil })
    box.engine.apply(
      Configuration(flows: [
        Flow(
          id: 1, name: "f", match: match, priority: 0, stages: [[AttachedModule(1, Reader(), run: run)]])
      ]), at: .zero)
    _ = box.receive(DatagramTests.datagram("abc"), at: .zero)
    threads.stepAll()
    _ = box.collect()
    _ = box.advance(to: .zero + .seconds(3_600))
    threads.stepAll()
    _ = box.collect()
    #expect(
      box.events.map(\.content)
        == [
          .init("change", ["what": "opened", "octets": "0"]), .init("change", ["what": "closed", "octets": "3"]),
        ])
    #expect(box.engine.statistics.modules[1]?.own == [2])
  }

  @Test(arguments: [AttachedModule.RunMode.inline, .thread])
  func whoMiscountsHasFailed(run: AttachedModule.RunMode) throws {
    let threads = ManualThreads()
    var talk = try Self.talk(Miscounting(), run, threads)
    _ = talk.fromServer(0, "abc", flags: [.ack, .fin])
    Self.settle(&talk, threads)
    #expect(talk.states == ["failed: it has no counter number 3"])
    #expect(talk.box.engine.statistics.engine.moduleFailures == 1)
  }

  // MARK: Reading

  /// Tells what it has read when that is over.
  private struct Reading: ProcessingModule {
    static let description = ModuleDescription(
      kind: "reading", access: .read, needsThread: true, counters: ["ends"], help: "-")
    init(_ arguments: Arguments) {}
    init() {}
    mutating func run(_ window: inout Window) {
      var octets = 0
      while window.read() {
        octets += window.count
        window.releaseAll()
      }
      window.count(0)
      window.emit("over", ["what": window.isFinal ? "ended" : "cut off", "octets": "\(octets)"])
    }
  }

  private enum End: CaseIterable {
    case finish, reset, kill
  }

  @Test(arguments: End.allCases) private func aReadingTellsOfItsEnd(end: End) throws {
    let threads = RealThreads()
    var talk = try Conversation.working([[AttachedModule(1, Reading(), run: .thread)]], threads: threads)
    _ = talk.fromServer(0, "abc", flags: end == .finish ? [.ack, .fin] : .ack)
    for _ in 0..<20_000 where end != .finish && (talk.box.engine.connections(limit: 1)[0].modules[0].head ?? 0) < 3 {
      usleep(500)
      _ = talk.collect()
    }
    switch end {
    case .finish: break
    case .reset:
      _ = talk.fromServer(3, "", flags: [.rst])
      // Whether it has arrived is not known, so the reading goes on until the connection is forgotten.
      _ = talk.pass(.seconds(29))
      #expect(threads.count == 1)
      _ = talk.pass(.seconds(1))
    case .kill:
      let id = try #require(talk.box.engine.connections(limit: 1).first?.id)
      let isDone = talk.box.engine.kill(connection: id, at: talk.now)
      #expect(isDone)
    }
    for _ in 0..<20_000 where threads.count > 0 { usleep(500) }
    _ = talk.collect()
    #expect(Self.told(talk) == [end == .finish ? "ended 3" : "cut off 3"])
    #expect(talk.box.engine.statistics.modules[1]?.own == [1])
  }
}
