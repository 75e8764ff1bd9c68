import ModuleTesting
import Testing

@testable import Engine

/// What is told of modules at work: how far each is, what it holds, and what has gone through it.
@Suite struct PositionTests {
  typealias Run = AttachedModule.RunMode

  /// Keeps all that comes.
  private struct Keeper: ProcessingModule {
    static let description = ModuleDescription(kind: "keeper", access: .edit, help: "-")
    init(_ arguments: Arguments) {}
    init() {}
    mutating func process(_ window: inout Window) {}
  }

  /// Ends the connection that says no; lets nothing go before it does.
  private struct Judge: ProcessingModule {
    static let description = ModuleDescription(kind: "judge", access: .read, help: "-")
    init(_ arguments: Arguments) {}
    init() {}
    mutating func process(_ window: inout Window) {
      if window.find("no") != nil { window.reset() } else { window.releaseAll() }
    }
  }

  private static let longer = ByteEditor(rule: [UInt8(ascii: "x"): Array("long".utf8)])

  @Test(arguments: [Run.inline, .thread]) func tailIsWhatHasCome(run: Run) throws {
    let threads = ManualThreads()
    var talk = try Conversation.working(
      [[AttachedModule(1, Self.longer, run: run)], [AttachedModule(2, Reader(), run: run)]], threads: threads)
    for text in ["axb", "xx"] {
      _ = talk.fromServer(text == "xx" ? 3 : 0, text)
      _ = talk.box.settle(threads)
    }
    #expect(
      talk.lines == ["1 to-client 5/5 held 0 released 14 working", "2 to-client 14/14 held 0 released 14 working"])
    let modules = talk.box.engine.statistics.modules
    #expect([1, 2].map { modules[$0]?.common.octetsIn } == [5, 14])
    #expect([1, 2].map { modules[$0]?.common.octetsOut } == [14, 14])
  }

  @Test(arguments: [Run.inline, .thread]) func whatIsHeldHasCome(run: Run) throws {
    let threads = ManualThreads()
    var talk = try Conversation.working(
      [[AttachedModule(1, Reader(), run: run), AttachedModule(2, Keeper(), run: run)]], threads: threads)
    _ = talk.fromServer(0, "abc")
    _ = talk.box.settle(threads)
    #expect(talk.lines == ["1 to-client 3/3 held 0 released 3 working", "2 to-client 0/3 held 3 released 0 working"])
    let modules = talk.box.engine.statistics.modules
    #expect([1, 2].map { modules[$0]?.common.octetsIn } == [3, 3])
    #expect([1, 2].map { modules[$0]?.common.octetsOut } == [3, 0])
    #expect(talk.box.engine.octetsHeld == [2: 3])
    // Who comes later has had nothing yet; in a stage of its own, for what it is to get is held in front of it.
    try talk.configure([
      [AttachedModule(1, Reader(), run: run), AttachedModule(2, Keeper(), run: run)], [AttachedModule(3, Reader())],
    ])
    _ = talk.fromServer(3, "de")
    _ = talk.box.settle(threads)
    #expect(talk.lines.last == "3 to-client 0/0 held 0 released 0 working")
    #expect([1, 2, 3].map { talk.box.engine.statistics.modules[$0]?.common.octetsIn } == [5, 5, 0])
  }

  @Test func anEditorMayHoldMoreThanHasCome() throws {
    struct Padder: ProcessingModule {
      static let description = ModuleDescription(kind: "padder", access: .edit, help: "-")
      init(_ arguments: Arguments) {}
      init() {}
      mutating func process(_ window: inout Window) { window.insert("padding", at: 0) }
    }
    var talk = try Conversation.working([[AttachedModule(1, Padder())]])
    _ = talk.fromServer(0, "abc")
    #expect(talk.lines == ["1 to-client 0/3 held 10 released 0 working"])
  }

  @Test(arguments: [Run.inline, .thread]) func whatEndsTheConnectionIsToldOnce(run: Run) throws {
    let threads = ManualThreads()
    var talk = try Conversation.working([[AttachedModule(1, Judge(), run: run)]], threads: threads)
    _ = talk.fromServer(0, "yes")
    _ = talk.box.settle(threads)
    _ = talk.fromServer(3, "no", flags: [.ack, .fin])
    _ = talk.box.settle(threads)
    #expect(talk.box.engine.connections(limit: 1).first?.state == "cut")
    #expect(talk.lines == ["1 to-client 5/5 held 0 released 3 ended"])
    // What it ended has not gone on.
    let common = talk.box.engine.statistics.modules[1]?.common
    #expect(common.map { [$0.octetsIn, $0.octetsOut, $0.forcedReleases] } == [5, 3, 0])
  }

  // MARK: Packets and datagrams

  @Test(arguments: [Run.inline, .thread]) func modulesForPacketsAreTold(run: Run) throws {
    let threads = ManualThreads()
    var settings = Settings()
    settings.threads = threads
    var talk = try Conversation([], settings: settings)
    try talk.configure(
      [
        [AttachedModule(1, HopLimit(9), run: run)], [AttachedModule(2, WindowSetter(), run: run)],
        [AttachedModule(3, Self.longer)], [AttachedModule(4, HopLimit(8), run: run)],
      ], match: "tcp,tcp_dst=80")
    func pass(_ outcome: Middlebox.Outcome) { _ = talk.box.settle(threads) }
    pass(talk.fromClient(-1, acknowledging: 0, flags: .syn))
    pass(talk.fromServer(-1, flags: [.syn, .ack]))
    pass(talk.fromClient(0, acknowledging: 0))
    pass(talk.fromClient(0, "axb", acknowledging: 0))
    #expect(
      talk.lines == [
        "1 to-server 3 packets 123/123 held 0 released 123 working",
        "2 to-server 3 packets 63/63 held 0 released 63 working",
        "3 to-server 3/3 held 0 released 6 working",
        "4 to-server 3 packets 126/126 held 0 released 126 working",
        "2 to-client (peer) 1 packets 20/20 held 0 released 20 working",
      ])
    // What a thread has not returned has come, and is held.
    guard run == .thread else { return }
    _ = talk.fromClient(3, "abcdef", acknowledging: 0)
    #expect(talk.lines.first == "1 to-server 4 packets 123/169 held 46 released 123 working")
    #expect(talk.box.engine.octetsHeld == [1: 46])
    #expect(talk.box.engine.statistics.modules[1]?.common.octetsIn == 169)
    #expect(talk.box.engine.statistics.modules[1]?.common.octetsOut == 123)
  }

  @Test(arguments: [Run.inline, .thread]) func failureOfAModuleForPacketsIsTold(run: Run) throws {
    let threads = ManualThreads()
    var settings = Settings()
    settings.threads = threads
    var box = Middlebox(settings)
    box.attach([AttachedModule(1, Failing(at: 2), run: run), AttachedModule(2, Reader())])
    for _ in 0..<3 {
      _ = box.receive(DatagramTests.datagram("abc"), at: .zero)
      _ = box.settle(threads)
    }
    #expect(box.engine.statistics.failures == [1: "it threw: Reason()"])
    #expect(box.lines.first == "1 to-server 2 packets 62/62 held 0 released 62 failed: it threw: Reason()")
    // Set anew it begins anew.
    box.attach([AttachedModule(1, Failing(at: 9), run: run, revision: 1), AttachedModule(2, Reader())])
    #expect(box.engine.statistics.failures == [:])
    #expect(box.lines.first == "1 to-server 0 packets 0/0 held 0 released 0 working")
  }

  /// Drops what begins with a `D`, of which it releases nothing, and forgets to release an `F`.
  private struct Sieve: ProcessingModule {
    static let description = ModuleDescription(kind: "sieve", access: .read, help: "-")
    init(_ arguments: Arguments) {}
    init() {}
    mutating func process(_ window: inout Window) {
      switch window[0] {
      case UInt8(ascii: "D"): window.drop()
      case UInt8(ascii: "F"): break
      default: window.releaseAll()
      }
    }
  }

  @Test(arguments: [Run.inline, .thread]) func aDatagramThatIsDroppedIsNotReleased(run: Run) throws {
    let threads = ManualThreads()
    var settings = Settings()
    settings.threads = threads
    var box = Middlebox(settings)
    box.attach([AttachedModule(1, Sieve(), run: run), AttachedModule(2, Self.longer, run: run)])
    for text in ["x1", "D234", "F", "D"] {
      _ = box.receive(DatagramTests.datagram(text), at: .zero)
      _ = box.settle(threads)
    }
    let modules = box.engine.statistics.modules
    #expect([1, 2].map { modules[$0]?.common.octetsIn } == [8, 3])
    #expect([1, 2].map { modules[$0]?.common.octetsOut } == [3, 6])
    #expect([1, 2].map { modules[$0]?.common.forcedReleases } == [1, 0])
    #expect(
      box.lines == [
        "1 to-server 4 packets 8/8 held 0 released 3 working", "2 to-server 2 packets 3/3 held 0 released 6 working",
      ])
    guard run == .thread else { return }
    _ = box.receive(DatagramTests.datagram("abc"), at: .zero)
    #expect(box.lines.first == "1 to-server 5 packets 8/11 held 3 released 3 working")
    #expect(box.engine.connections(limit: 1).first?.toServer.held == 3)
    #expect(box.engine.octetsHeld == [1: 3])
  }
}

extension Middlebox {
  /// What is told of the modules of its only connection.
  fileprivate var lines: [String] {
    guard let id = engine.connections(limit: 1).first?.id, let info = engine.connection(id) else { return [] }
    return info.modules.map { module in
      let place = module.head.flatMap { head in module.tail.map { "\(head)/\($0)" } } ?? "-"
      return "\(module.id) \(module.direction.rawValue)" + (module.isPeer ? " (peer)" : "")
        + (module.packets.map { " \($0) packets" } ?? "") + " \(place) held \(module.held) released \(module.released) "
        + module.state
    }
  }
}

extension Conversation {
  fileprivate var lines: [String] { box.lines }
}
