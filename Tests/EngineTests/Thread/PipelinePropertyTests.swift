import Glibc
import ModuleTesting
import Synchronization
import Testing

@testable import Engine

/// Random pipelines of readers and editors, inline and on threads, and of modules for packets around them, over links that lose
/// and reorder, changed while they run: what arrives is what the modules' rules make of what was sent, each from the octet on at
/// which it came, to the one at which it went.
@Suite struct PipelinePropertyTests {
  private func run(
    _ seed: UInt64, threads: any ThreadStarter, isManual: Bool,
    pump: @escaping (inout Middlebox, Instant, inout SplitMix) -> Void
  ) throws {
    var random = SplitMix(seed: seed)
    let upload = SimulationTests.bytes(40_000, &random)
    var plan = PipelinePlan(&random, mayRead: !isManual)
    var settings = Settings()
    settings.threads = threads
    var box = Middlebox(settings)
    box.engine.apply(try plan.configuration(), at: .zero)
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
    var random2 = SplitMix(seed: seed &+ 1_000_003)
    simulation.run { now, box in
      pump(&box, now, &random2)
      guard now >= nextChange, plan.changes < 40 else { return }
      nextChange = now + .milliseconds(Int64.random(in: 1...30, using: &random2))
      // Real threads work on meanwhile, so where they stand is not known.
      let starts = isManual ? box.starts(plan) : [ClosedRange](repeating: 0...Int.max, count: PipelinePlan.slots)
      plan.change(&random2, mayMove: isManual, starts: starts)
      if let configuration = try? plan.configuration() { box.engine.apply(configuration, at: now) }
    }
    let comment: Comment = "seed \(seed): \(plan.summary)"
    let info = simulation.box.engine.connections(limit: 1)
    #expect(simulation.server.isDone && simulation.client.isDone, "\(info) \(comment)")
    #expect(simulation.client.complaints + simulation.server.complaints == [], comment)

    let oracle = PipelineOracle(plan: plan, comment: comment)
    let start = options.initialSequence + 1
    let recorded = plan.recorder.traces.all.withLock { $0 }.flatMap { $0.record.withLock { $0.input } }
    let arrived = oracle.check(plan.front, on: upload, start: start)
    #expect(recorded.count == upload.count && zip(recorded, arrived).allSatisfy { $1.contains($0) }, comment)
    guard let streams = oracle.streams(of: recorded), let last = streams.last else { return }
    oracle.checkReaders(streams)
    let received = simulation.server.received
    let left = oracle.check(plan.behind, on: last, start: start)
    #expect(received.count == last.count && zip(received, left).allSatisfy { $1.contains($0) }, comment)
  }

  static var seeds: ClosedRange<UInt64> { Matrix.firstSeed...Matrix.firstSeed + (Matrix.seedCount ?? 40) - 1 }

  @Test(arguments: Self.seeds) func equalsTheCompositionOfTheModules(seed: UInt64) throws {
    let threads = ManualThreads()
    var last = Instant.zero
    try run(seed, threads: threads, isManual: true) { box, now, random in
      threads.setTime(now)
      // Threads take their time, but not as much as it takes until an end gives up.
      let steps = now - last > .milliseconds(90) ? 8 * threads.count : Int.random(in: 0...3, using: &random)
      last = now
      for _ in 0..<steps where threads.count > 0 {
        threads.step(Int.random(in: 0..<threads.count, using: &random))
        box.engine.collect(at: now)
      }
    }
  }

  /// Readers, and editors that find nothing, all of which have enough at some time, on both directions; what the kernel forwards
  /// alone then never comes back.
  @Test(arguments: Self.seeds) func whatLeavesForTheKernelArrives(seed: UInt64) throws {
    var random = SplitMix(seed: seed)
    let upload = SimulationTests.bytes(40_000, &random)
    let download = SimulationTests.bytes(20_000, &random)
    let threads = ManualThreads()
    var settings = Settings()
    settings.threads = threads
    var box = Middlebox(settings)
    var lists: [(list: Trace.List, sent: [UInt8])] = []
    var flows: [Flow] = []
    for (index, (match, sent)) in [("tcp,tcp_dst=80", upload), ("tcp,tcp_src=80", download)].enumerated() {
      let modules = (0..<Int.random(in: 1...3, using: &random)).map { member in
        var wishes = TracedEditor.Wishes()
        wishes.limit = Int.random(in: 1...sent.count / 2, using: &random)
        wishes.hold = [0, 0, 30].randomElement(using: &random) ?? 0
        wishes.isOnThread = random.once(in: 3)
        lists.append((Trace.List(), sent))
        let list = lists[lists.count - 1].list
        return AttachedModule(
          UInt32(index * 10 + member + 1), random.once(in: 2) ? TracedEditor(wishes, list) : TracedReader(wishes, list),
          run: wishes.isOnThread ? .thread : .inline)
      }
      flows.append(
        Flow(
          id: UInt32(index + 1), name: match, match: try Match(parsing: match, portNamed: { _ in nil }), priority: 0,
          stages: modules.map { [$0] }))
    }
    box.engine.apply(Configuration(flows: flows), at: .zero)
    let one = Endpoint(address: try #require(IPAddress("10.0.0.1")), port: 40_000)
    let two = Endpoint(address: try #require(IPAddress("10.0.1.2")), port: 80)
    var options = Host.Options()
    options.sendWindow = 6_000
    options.segmentsAtOnce = random.once(in: 3) ? 12 : 1
    let link = [Simulation.Link.clean, .lossy, .bad].randomElement(using: &random) ?? .clean
    var simulation = Simulation(
      seed: seed, client: Host(one, two, isClient: true, sending: upload, options: options),
      server: Host(two, one, isClient: false, sending: download, options: options), box: box, clientLink: link,
      serverLink: link)
    simulation.run { now, box in
      threads.setTime(now)
      threads.stepAll()
      box.engine.collect(at: now)
    }
    let comment: Comment = "seed \(seed): \(simulation.box.engine.connections(limit: 1))"
    #expect(simulation.client.isDone && simulation.server.isDone, comment)
    #expect(simulation.client.complaints + simulation.server.complaints == [], comment)
    #expect(simulation.server.received == upload && simulation.client.received == download, comment)
    for (list, sent) in lists {
      let trace = try #require(list.all.withLock { $0.first })
      let input = trace.record.withLock { $0.input }
      #expect(input.count >= 1 && sent.starts(with: input), comment)
    }
    // With losses it may take until there is nothing left to be forwarded.
    #expect(link.loss > 0 || simulation.box.engine.statistics.engine.offloaded == 1, comment)
    #expect(simulation.box.isOffloaded == (simulation.box.engine.statistics.engine.offloaded == 1), comment)
  }

  @Test(arguments: 1...6 as ClosedRange<UInt64>) func equalsItOnRealThreadsToo(seed: UInt64) throws {
    let threads = RealThreads()
    try run(seed, threads: threads, isManual: false) { box, now, random in
      threads.setTime(now)
      usleep(30)
      box.engine.collect(at: now)
    }
  }
}

extension Middlebox {
  /// For each slot of `plan`, between which octets of what comes there a module would begin that came now: the trailing head, and
  /// the tail.
  fileprivate func starts(_ plan: PipelinePlan) -> [ClosedRange<Int>] {
    var starts = [ClosedRange](repeating: 0...0, count: PipelinePlan.slots)
    guard let place = engine.connections.occupied.first, engine.connections[place].phase != .synSent else {
      return starts
    }
    var held = [Int](repeating: 0, count: PipelinePlan.slots)
    for stage in engine.connections[place][.toServer].pipeline.stages {
      guard let index = stage.members.first?.instance,
        let module = engine.connections[place].instances[index].module as? any Traced
      else { continue }
      let isGoingOn = engine.connections[place].instances[index].state == .working
      let slot = isGoingOn ? module.traces.place.withLock { $0.slot } : module.trace?.place.slot
      held[slot ?? 0] += stage.input.count
    }
    var grown = [Int](repeating: 0, count: PipelinePlan.slots)
    for module in plan.modules where module.isEditor {
      for trace in module.traces.all.withLock({ $0 }) {
        let record = trace.record.withLock { $0 }
        grown[trace.place.slot] += record.output.count - record.input.count
      }
    }
    // From what has left back to what has come.
    let start = OutSequence(engine.connections[place][.toServer].start.raw)
    let hasEnded = engine.connections[place][.toServer].sender.finish != nil
    var at = engine.connections[place][.toServer].sender.map.outputEnd - start - (hasEnded ? 1 : 0)
    for slot in held.indices.reversed() {
      at -= grown[slot]
      starts[slot] = at...at + held[slot]
      at += held[slot]
    }
    return starts
  }
}
