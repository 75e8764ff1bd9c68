import Glibc
import ModuleTesting
import Synchronization
import Testing

@testable import Engine

/// Modules on threads that a test moves by hand, or that stand in the middle of a call, and what becomes of the connection.
@Suite struct ThreadScripts {
  private static let remover = ByteEditor(rule: [UInt8(ascii: "x"): []])

  /// Lets nothing go until it is told to, and asks for that ten times a second.
  private struct Miser: ProcessingModule {
    static let description = ModuleDescription(kind: "miser", access: .edit, holdTime: .milliseconds(50), help: "-")
    let isGenerous: Flag
    init(_ arguments: Arguments) { isGenerous = Flag() }
    init(_ isGenerous: Flag) { self.isGenerous = isGenerous }
    mutating func process(_ window: inout Window) {
      if isGenerous.value { window.releaseAll() } else { window.wake(after: .milliseconds(100)) }
    }
  }

  private final class Flag: Sendable {
    private let state = Atomic(false)
    var value: Bool { state.load(ordering: .relaxed) }
    func set() { state.store(true, ordering: .relaxed) }
  }

  /// Looks at its octets only after it has stood at a gate.
  private struct Sleeper: ProcessingModule {
    static let description = ModuleDescription(kind: "sleeper", access: .read, help: "-")
    let gate: Gate
    let seen: Seen
    init(_ arguments: Arguments) { self.init(Gate(), Seen()) }
    init(_ gate: Gate, _ seen: Seen) {
      self.gate = gate
      self.seen = seen
    }
    mutating func process(_ window: inout Window) {
      gate.pass()
      let octets = window.copy(0..<window.count)
      seen.octets.withLock { $0 += octets }
      window.releaseAll()
    }
  }

  private final class Seen: Sendable {
    let octets = Mutex<[UInt8]>([])
    var text: String { String(decoding: octets.withLock { $0 }, as: UTF8.self) }
  }

  /// Cuts the connection off at an `!`.
  private struct Cutter: ProcessingModule {
    static let description = ModuleDescription(kind: "cutter", access: .read, help: "-")
    init(_ arguments: Arguments) {}
    init() {}
    mutating func process(_ window: inout Window) {
      if window.find("!") != nil { window.drop() }
      window.releaseAll()
    }
  }

  /// Fails at a `?`.
  private struct Failing: ProcessingModule {
    static let description = ModuleDescription(kind: "failing", access: .read, help: "-")
    struct Trouble: Error {}
    init(_ arguments: Arguments) {}
    init() {}
    mutating func process(_ window: inout Window) throws {
      if window.find("?") != nil { throw Trouble() }
      window.releaseAll()
    }
  }

  // MARK: Modules that take their time

  @Test func whatAThreadHoldsSlowsTheSourceDown() throws {
    let threads = ManualThreads()
    let isGenerous = Flag()
    var talk = try Conversation.working(
      [[AttachedModule(1, Miser(isGenerous), run: .thread)]], threads: threads)
    _ = talk.fromClient(0, acknowledging: 0, window: 60_000)
    var edge = 60_000
    var sent = 0
    let segment = String(repeating: "a", count: 1_000)
    func heed(_ packets: [TCPPacket]) {
      for packet in packets where packet.tcp.destinationPort == 80 {
        let acknowledged = Int(packet.tcp.acknowledgement &- Conversation.serverStart)
        #expect(acknowledged + Int(packet.tcp.window) >= edge, "the window is taken back")
        edge = max(edge, acknowledged + Int(packet.tcp.window))
      }
    }
    for _ in 0..<200 {
      while sent + segment.count <= edge, sent < 2_000_000 {
        heed(talk.fromServer(sent, segment).injected)
        sent += segment.count
      }
      threads.setTime(talk.now)
      threads.stepAll()
      heed(talk.collect())
      heed(talk.pass(.milliseconds(100)))
    }
    #expect((300_000...400_000).contains(sent) && edge < sent + 1_000)
    let memory = talk.box.engine.statistics.memoryInUse
    #expect(memory < 2 << 20)
    // Nothing has left yet, and all of it does.
    isGenerous.set()
    var received = 0
    for _ in 0..<1_000 where received < sent {
      threads.setTime(talk.now)
      threads.stepAll()
      var packets = talk.collect() + talk.pass(.milliseconds(10))
      while !packets.isEmpty {
        let before = received
        for packet in packets where packet.tcp.destinationPort != 80 && !packet.payload.isEmpty {
          #expect(Int(packet.tcp.sequence &- Conversation.serverStart) == received)
          received += packet.payload.count
        }
        heed(packets)
        packets = received > before ? talk.fromClient(0, acknowledging: received, window: 60_000).packets : []
      }
    }
    #expect(received == sent)
    #expect(edge >= sent + 60_000)
  }

  @Test(arguments: [Simulation.Link.clean, .lossy]) func aConnectionOutlivesAThreadThatHoldsForLong(
    link: Simulation.Link
  ) throws {
    let threads = ManualThreads()
    let isGenerous = Flag()
    var random = SplitMix(seed: 8)
    let upload = SimulationTests.bytes(1_500_000, &random)
    var settings = Settings()
    settings.threads = threads
    var box = Middlebox(settings)
    box.engine.apply(
      Configuration(flows: [
        Flow(
          id: 1, name: "f", match: try Match(parsing: "tcp,tcp_dst=80", portNamed: { _ in nil }), priority: 0,
          stages: [[AttachedModule(1, Miser(isGenerous), run: .thread)]])
      ]), at: .zero)
    let one = Endpoint(address: try #require(IPAddress("10.0.0.1")), port: 40_000)
    let two = Endpoint(address: try #require(IPAddress("10.0.1.2")), port: 80)
    var simulation = Simulation(
      seed: 8, client: Host(one, two, isClient: true, sending: upload, options: Host.Options()),
      server: Host(two, one, isClient: false, sending: [], options: Host.Options()), box: box, clientLink: link,
      serverLink: link)
    var memory = 0
    simulation.run { now, box in
      if now - .zero > .seconds(30) { isGenerous.set() }
      threads.setTime(now)
      threads.stepAll()
      box.engine.collect(at: now)
      memory = max(memory, box.engine.statistics.memoryInUse)
    }
    #expect(simulation.client.isDone && simulation.server.isDone)
    #expect(simulation.client.complaints + simulation.server.complaints == [])
    #expect(simulation.server.received == upload)
    #expect(memory < 2 << 20)
  }

  @Test func aThreadHoldsUpNeitherAnotherConnectionNorAnEarlierStage() throws {
    let threads = ManualThreads()
    var talk = try Conversation.working(
      [
        [AttachedModule(1, Reader()), AttachedModule(2, Self.remover)],
        [AttachedModule(3, Reader(), run: .thread), AttachedModule(4, Reader())],
      ], threads: threads)
    #expect(talk.fromServer(0, "axb").out == [])
    #expect(talk.box.engine.statistics.modules[1]?.own == [3])
    // The other reader of the stage has looked at it as well, and it leaves when both have.
    #expect(talk.box.engine.statistics.modules[4]?.own == [2])
    #expect(talk.collect().isEmpty)
    // Another connection, whose thread works.
    let other = Endpoint(address: talk.client.address, port: 40_001)
    for (flags, isAnswer) in [(TCPFlags.syn, false), ([.syn, .ack], true), (.ack, false)] as [(TCPFlags, Bool)] {
      _ = talk.box.receive(
        TCPPacket(
          from: isAnswer ? talk.server : other, to: isAnswer ? other : talk.server,
          sequence: isAnswer ? 200 : flags == .ack ? 101 : 100, acknowledgement: isAnswer ? 101 : 201, flags: flags),
        at: talk.now)
    }
    #expect(threads.count == 2)
    _ = talk.box.receive(
      TCPPacket(
        from: talk.server, to: other, sequence: 201, acknowledgement: 101, flags: .ack, payload: Array("cxd".utf8)),
      at: talk.now)
    threads.step(1)
    #expect(talk.collect().text == "cd")
    _ = talk.fromServer(3, "ef")
    threads.step(0)
    #expect(talk.collect().text == "abef")
  }

  /// A source that has closed first forgets the connection with the acknowledgement of its end, and answers what comes then with
  /// resets, which would cost the destination what is still held.
  @Test func theEndIsAcknowledgedByTheDestinationAlone() throws {
    let threads = ManualThreads()
    var talk = try Conversation.working([[AttachedModule(1, Self.remover, run: .thread)]], threads: threads)
    #expect(talk.fromServer(0, "abxd", flags: [.ack, .fin]).out == [])
    #expect(talk.pass(.milliseconds(100)).map(\.summary) == ["client . 0 ack 4"])
    #expect(talk.fromServer(4, flags: [.ack, .fin]).out == [])
    let deadline = talk.box.engine.nextDeadline.map { $0 > talk.now }
    #expect(deadline == true)
    threads.stepAll()
    #expect(talk.collect().map(\.summary) == ["server FP. 0 ack 0 'abd'"])
    #expect(talk.fromClient(0, acknowledging: 4).out == ["client . 0 ack 5"])
  }

  // MARK: Threads that there are not

  @Test(arguments: Flow.FailurePolicy.allCases) func aModuleWithoutAThreadHasFailed(policy: Flow.FailurePolicy) throws {
    var talk = try Conversation.working([], threads: ManualThreads(limit: 0))
    try talk.configure([[AttachedModule(1, Self.remover, run: .thread)]], onFail: policy)
    let out = talk.box.takeInjections().map(\.summary)
    let behind = talk.fromServer(0, "axb").out
    switch policy {
    case .pass:
      #expect(out == [] && behind == ["server . 0 ack 0 'axb'"])
      #expect(talk.states == ["failed: there can be no more threads"])
    case .drop: #expect(out == [] && behind == [])
    case .reset: #expect(out == ["client R. 0 ack 0", "server R. 0 ack 0"] && behind == [])
    }
    #expect(talk.box.engine.statistics.engine.moduleFailures == 1)
    #expect(talk.box.events.map(\.content.name) == ["failed"])
  }

  // MARK: Connections that end in the middle of a call

  enum Ending: CaseIterable { case reset, forgotten, cut, superseded, failed }

  @Test(arguments: Ending.allCases) func whatAThreadLooksAtStaysWhereItIs(ending: Ending) throws {
    let threads = RealThreads()
    let gate = Gate()
    let seen = Seen()
    let modules = [
      AttachedModule(1, Sleeper(gate, seen), run: .thread), AttachedModule(2, Cutter()),
      AttachedModule(3, Failing()),
    ]
    var talk = try Conversation.working([modules], onFail: .drop, threads: threads)
    let before = talk.box.engine.statistics.memoryInUse
    let secret = String(repeating: "what it looks at, ", count: 50)
    _ = talk.fromServer(0, secret)
    gate.awaitVisitor()
    switch ending {
    case .reset:
      _ = talk.fromServer(secret.utf8.count, flags: [.rst, .ack])
      _ = talk.pass(.seconds(60))
    case .forgotten: _ = talk.pass(.seconds(100_000))
    case .cut: _ = talk.fromServer(secret.utf8.count, "!")
    case .failed: _ = talk.fromServer(secret.utf8.count, "?")
    case .superseded:
      _ = talk.fromServer(secret.utf8.count, "!")
      _ = talk.box.receive(
        TCPPacket(from: talk.client, to: talk.server, sequence: 70_000, acknowledgement: 0, flags: .syn), at: talk.now)
    }
    // Whatever is received now must not come to lie there.
    for port in 0..<200 as Range<UInt16> {
      _ = talk.box.receive(
        TCPPacket(
          from: Endpoint(address: talk.client.address, port: 50_000 + port), to: talk.server, sequence: 9,
          acknowledgement: 9, flags: .ack, payload: [UInt8](repeating: 0, count: secret.utf8.count)),
        at: talk.now)
    }
    gate.open()
    for _ in 0..<20_000 where threads.count > 0 { usleep(500) }
    _ = talk.collect()
    #expect(seen.text == secret)
    #expect(threads.count == 0)
    let after = talk.box.engine.statistics.memoryInUse
    #expect(after <= before + 200 * 4_096)
  }

  // MARK: Changes

  /// Closed connections are remembered for a while; their threads are not needed that long.
  /// What a thread has returned is taken over with any packet of the connection, also one that does not run its pipeline.
  @Test func theEndLeavesBehindWhatAThreadHasReturned() throws {
    let threads = ManualThreads()
    var talk = try Conversation.working([[AttachedModule(1, Self.remover, run: .thread)]], threads: threads)
    #expect(talk.fromServer(0, "axb", flags: [.ack, .fin]).out.isEmpty)
    threads.stepAll()
    let outcome = talk.fromClient(0, acknowledging: 0)
    let left = outcome.injected + talk.collect()
    #expect(left.text == "ab" && left.last?.tcp.flags.contains(.fin) == true)
  }

  @Test func aModuleWhoseThreadHasEndedWorksNoMore() throws {
    let threads = ManualThreads()
    func editor(_ id: UInt32, _ from: Character, _ to: String, _ run: AttachedModule.RunMode) -> AttachedModule {
      AttachedModule(id, ByteEditor(rule: [from.asciiValue ?? 0: Array(to.utf8)]), run: run)
    }
    var settings = Settings()
    settings.threads = threads
    var talk = try Conversation([], settings: settings)
    try talk.configure([[editor(1, "a", "A", .thread)]], match: "tcp,tcp_dst=80")
    try talk.shakeHands()
    _ = talk.fromClient(0, "ab", acknowledging: 0)
    // Another one takes its place before it has looked at what it was handed, and works on what comes.
    try talk.configure([[editor(2, "b", "a", .inline)]], match: "tcp,tcp_dst=80")
    _ = talk.fromClient(2, "ab", acknowledging: 0)
    threads.stepAll()
    #expect(talk.collect().text == "abaa")
  }

  @Test func threadsEndWithTheirStreams() throws {
    let threads = ManualThreads()
    var talk = try Conversation.working(
      [[AttachedModule(1, Self.remover, run: .thread)]], threads: threads)
    _ = talk.fromServer(0, "ax", flags: [.ack, .fin])
    threads.stepAll()
    #expect(talk.collect().hasFinish)
    _ = talk.fromClient(0, acknowledging: 2, flags: [.ack, .fin])
    threads.stepAll()
    _ = talk.collect()
    _ = talk.fromServer(3, acknowledging: 1)
    threads.stepAll()
    _ = talk.collect()
    threads.stepAll()
    #expect(threads.count == 0)
  }

  /// What a thread has in its hands belongs to the stage in which it was handed over.
  @Test(arguments: [false, true], [false, true])
  func aModuleThatMovesTakesNothingWithIt(isReader: Bool, hasWorked: Bool) throws {
    let threads = ManualThreads()
    let moving: any ProcessingModule = isReader ? Reader() : ByteEditor(rule: [UInt8(ascii: "b"): [UInt8(ascii: "x")]])
    let moved = AttachedModule(1, moving, run: .thread)
    let others = [AttachedModule(2, Self.remover), AttachedModule(3, Reader())]
    var talk = try Conversation.working([[moved], [others[0]], [others[1]]], threads: threads)
    #expect(talk.fromServer(0, "abxc").out == [])
    if hasWorked { threads.step(0) }
    try talk.configure([[others[0]], [others[1], moved]])
    #expect(talk.fromServer(4, "dbx").out.isEmpty)
    var out: [TCPPacket] = []
    for _ in 0..<6 {
      threads.stepAll()
      out += talk.collect()
    }
    // What it made of its octets in front of the remover has lost its `x`; what it has not worked at, the other one gets.
    #expect(out.text == (isReader ? "abcdb" : hasWorked ? "acdx" : "axcdx"))
    #expect(talk.fromServer(7, "e").out.isEmpty)
    threads.stepAll()
    #expect(talk.collect().text == "e")
    #expect(threads.count == 1 && talk.states == ["working", "working", "working"])
  }

  /// Takes 50 ms of the machine's time for each call.
  private struct Slow: ProcessingModule {
    static let description = ModuleDescription(kind: "slow", access: .read, help: "-")
    init(_ arguments: Arguments) {}
    init() {}
    mutating func process(_ window: inout Window) {
      usleep(50_000)
      window.releaseAll()
    }
  }

  @Test func aSlowThreadBesideAFastReaderHoldsUpTheNextStageAlone() throws {
    let threads = RealThreads()
    let (fast, behind) = (Seen(), Seen())
    let open = Gate()
    open.open()
    var talk = try Conversation.working(
      [
        [AttachedModule(1, Slow(), run: .thread), AttachedModule(2, Sleeper(open, fast))],
        [AttachedModule(3, Sleeper(open, behind))],
      ], threads: threads)
    var sent = ""
    var wasBehind = false
    for index in 0..<10 {
      let text = String(repeating: Character(UnicodeScalar(UInt8(97 + index))), count: 100)
      _ = talk.fromServer(sent.utf8.count, text)
      sent += text
      // Whatever the slow one is about, the fast one has seen all at once.
      #expect(fast.text == sent)
      wasBehind = wasBehind || behind.text.utf8.count < sent.utf8.count
      #expect(sent.hasPrefix(behind.text))
    }
    #expect(wasBehind)
    // The slow one needs some calls, and then all is through.
    for _ in 0..<200 where behind.text != sent {
      usleep(20_000)
      _ = talk.collect()
    }
    #expect(behind.text == sent)
  }
}
