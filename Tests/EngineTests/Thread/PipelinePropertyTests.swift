import Glibc
import Synchronization
import Testing

@testable import Engine

/// Random pipelines of readers and editors, inline and on threads, over links that lose and reorder, changed while they run: what
/// arrives is what the modules' rules make of what was sent, each from the octet on at which it came, to the one at which it went.
@Suite struct PipelinePropertyTests {
  /// One module of the plan; which of them are attached changes on the way.
  private struct Planned {
    var id: UInt32
    var stage: Int
    var isEditor: Bool
    var runsOnThread: Bool
    var traces = TracedEditor.Traces()
    var rule: [UInt8: [UInt8]] = [:]
    var hold = 0
    var revision = 0
    var isAttached: Bool
    /// Whether it is written like a program that reads.
    var isReading = false

    /// Its stage, then e for an editor or r for a reader, then i for inline, t for a thread, p for a program on one.
    var summary: String { "\(stage)\(isEditor ? "e" : "r")\(isReading ? "p" : runsOnThread ? "t" : "i")" }

    var attached: AttachedModule {
      let editor = TracedEditor(rule: rule, hold: hold, traces: traces)
      let prototype: any ProcessingModule =
        switch (isEditor, isReading) {
        case (true, true): TracedReading(editor)
        case (true, false): editor
        case (false, _): TracedReader(hold: hold, traces: traces)
        }
      return AttachedModule(
        id: id, name: "m\(id)", revision: revision, run: runsOnThread ? .thread : .inline, prototype: prototype)
    }
  }

  private static func rule(_ random: inout Randomness) -> [UInt8: [UInt8]] {
    [SimulationTests.shrink, SimulationTests.grow, SimulationTests.mixed, [:], [7: [], 8: [7], 9: [8, 8]]]
      .randomElement(using: &random) ?? [:]
  }

  private static func configuration(_ plan: [Planned]) throws -> Configuration {
    let stages = Dictionary(grouping: plan.filter(\.isAttached), by: \.stage).sorted { $0.key < $1.key }
    return Configuration(flows: [
      Flow(
        id: 1, name: "f", match: try Match(parsing: "tcp,tcp_dst=80", portNamed: { _ in nil }), priority: 0,
        stages: stages.map { $0.value.map(\.attached) })
    ])
  }

  private func run(
    _ seed: UInt64, threads: any ThreadStarter, mayRead: Bool = false,
    pump: @escaping (inout Middlebox, Instant, inout Randomness) -> Void
  )
    throws
  {
    var random = Randomness(seed: seed)
    let upload = SimulationTests.bytes(40_000, &random)
    var id: UInt32 = 0
    var plan: [Planned] = []
    for stage in 0..<Int.random(in: 1...4, using: &random) {
      let members = Int.random(in: 1...3, using: &random)
      for member in 0..<members {
        id += 1
        plan.append(
          Planned(
            id: id, stage: stage, isEditor: member == 0 && !random.once(in: 3), runsOnThread: !random.once(in: 2),
            rule: Self.rule(&random), hold: [0, 0, 1, 30, 400].randomElement(using: &random) ?? 0,
            isAttached: !random.once(in: 3)))
      }
    }
    if mayRead {
      for index in plan.indices where plan[index].isEditor && plan[index].runsOnThread {
        plan[index].isReading = random.once(in: 2)
      }
    }
    // One editor from the start, so that those that come later may edit.
    plan[0].isAttached = true
    plan[0].isEditor = true
    var settings = Settings()
    settings.threads = threads
    var box = Middlebox(settings)
    box.engine.apply(try Self.configuration(plan), at: .zero)
    let one = Endpoint(address: try #require(IPAddress("10.0.0.1")), port: 40_000)
    let two = Endpoint(address: try #require(IPAddress("10.0.1.2")), port: 80)
    var options = Host.Options()
    options.segmentsAtOnce = random.once(in: 3) ? 12 : 1
    let link = [Simulation.Link.clean, .lossy, .bad].randomElement(using: &random) ?? .clean
    var simulation = Simulation(
      seed: seed, client: Host(one, two, isClient: true, sending: upload, options: options),
      server: Host(two, one, isClient: false, sending: [1, 2, 3], options: options), box: box, clientLink: link,
      serverLink: link)
    var nextChange = Instant(nanoseconds: .milliseconds(20))
    var changes = 0
    var random2 = Randomness(seed: seed &+ 1_000_003)
    simulation.run { now, box in
      pump(&box, now, &random2)
      guard now >= nextChange, changes < 40 else { return }
      changes += 1
      nextChange = now + .milliseconds(Int64.random(in: 1...30, using: &random2))
      let index = Int.random(in: 0..<plan.count, using: &random2)
      if plan[index].isAttached, random2.once(in: 2) {
        // As `pm set`.
        plan[index].hold = [0, 1, 30].randomElement(using: &random2) ?? 0
        plan[index].revision += 1
      } else if index > 0 {
        plan[index].isAttached.toggle()
        // A module that is attached again is another one.
        if plan[index].isAttached {
          id += 1
          plan[index].id = id
          plan[index].rule = plan[index].isEditor ? Self.rule(&random2) : [:]
        }
      }
      if let configuration = try? Self.configuration(plan) { box.engine.apply(configuration, at: now) }
    }
    let comment: Comment =
      "seed \(seed): \(plan.map(\.summary)), \(changes) changes"
    let info = simulation.box.engine.connections(limit: 1)
    #expect(simulation.server.isDone && simulation.client.isDone, "\(info) \(comment)")
    #expect(simulation.client.complaints + simulation.server.complaints == [], comment)

    // From the source on, each editor in the order of the stages: what it got must stand there, and gives place to what it made.
    var stream = upload
    var streams = [stream]
    for module in plan.filter(\.isEditor).sorted(by: { $0.stage < $1.stage }) {
      var from = 0
      for trace in module.traces.list.withLock({ $0 }) {
        let record = trace.record.withLock { $0 }
        guard !record.input.isEmpty else { continue }
        guard let place = Self.find(record.input, in: stream, from: from) else {
          Issue.record("module \(module.id) got \(record.input.count) octets that are not there: \(comment)")
          return
        }
        stream.replaceSubrange(place..<place + record.input.count, with: record.output)
        streams.append(stream)
        // One that was attached again may have come while the old one was still at work on what it had been handed.
        from = place
      }
    }
    // A reader that comes while an editor of its stage is still at work on what it had been handed stands behind that one.
    for module in plan.filter({ !$0.isEditor }) {
      for trace in module.traces.list.withLock({ $0 }) {
        let record = trace.record.withLock { $0 }
        guard !record.input.isEmpty else { continue }
        #expect(streams.contains { Self.find(record.input, in: $0, from: 0) != nil }, "module \(module.id), \(comment)")
      }
    }
    #expect(simulation.server.received == stream, comment)
  }

  private static func find(_ part: [UInt8], in whole: [UInt8], from start: Int) -> Int? {
    guard part.count <= whole.count else { return nil }
    let head = part.prefix(64)
    return (start...max(start, whole.count - part.count)).first { at in
      at + part.count <= whole.count && whole[at..<at + head.count] == head && whole[at..<at + part.count] == part[...]
    }
  }

  static var seeds: ClosedRange<UInt64> { Matrix.firstSeed...Matrix.firstSeed + (Matrix.seedCount ?? 40) - 1 }

  @Test(arguments: Self.seeds) func equalsTheCompositionOfTheModules(seed: UInt64) throws {
    let threads = ManualThreads()
    var last = Instant.zero
    try run(seed, threads: threads) { box, now, random in
      threads.time.store(now.nanoseconds, ordering: .relaxed)
      // Threads take their time, but not as much as it takes until an end gives up.
      let steps = now - last > .milliseconds(90) ? 8 * threads.count : Int.random(in: 0...3, using: &random)
      last = now
      for _ in 0..<steps where threads.count > 0 {
        threads.step(Int.random(in: 0..<threads.count, using: &random))
        box.engine.collect(at: now)
      }
    }
  }

  @Test(arguments: 1...6 as ClosedRange<UInt64>) func equalsItOnRealThreadsToo(seed: UInt64) throws {
    let threads = RealThreads()
    try run(seed, threads: threads, mayRead: true) { box, now, random in
      threads.time.store(now.nanoseconds, ordering: .relaxed)
      usleep(30)
      box.engine.collect(at: now)
    }
  }
}
