import ModuleTesting
import Synchronization
import Testing

@testable import Engine

/// The modules of one run of the property tests, and how they change on the way.
struct PipelinePlan {
  /// A module that works on the stream. In each slot there is one editor at the most.
  struct Module {
    var id: UInt32
    var slot: Int
    var isEditor: Bool
    /// Whether it is written like a program that reads.
    var isReading = false
    var wishes: TracedEditor.Wishes
    var traces = Trace.List()
    var revision = 0
    var isAttached: Bool

    /// Its slot, then e for an editor or r for a reader, then i for inline, t for a thread, p for a program on one.
    var summary: String { "\(slot)\(isEditor ? "e" : "r")\(isReading ? "p" : wishes.isOnThread ? "t" : "i")" }

    var attached: AttachedModule {
      let prototype: any ProcessingModule =
        switch (isEditor, isReading) {
        case (true, true): TracedReading(wishes, traces)
        case (true, false): TracedEditor(wishes, traces)
        case (false, _): TracedReader(wishes, traces)
        }
      return AttachedModule(
        id: id, name: "m\(id)", revision: revision, run: wishes.isOnThread ? .thread : .inline, prototype: prototype)
    }
  }

  /// A module that works on packets: in front of all slots, or behind them.
  struct PacketModule {
    var id: UInt32
    var isOfSegments: Bool
    var isOnThread: Bool
    var rule: [UInt8: UInt8]
    var trace = PacketTrace()
    var revision = 0
    var isAttached: Bool

    var attached: AttachedModule {
      let prototype: any ProcessingModule =
        isOfSegments ? TracedSegments(rule, trace) : TracedPackets(rule, trace)
      return AttachedModule(
        id: id, name: "p\(id)", revision: revision, run: isOnThread ? .thread : .inline, prototype: prototype)
    }
  }

  static let slots = 6

  /// The first is an editor that stays, so that those that come later may edit.
  private(set) var modules: [Module] = []
  /// Reads all of the stream in front of the others, and stays.
  let recorder = Module(id: 1_000_000, slot: 0, isEditor: false, wishes: TracedEditor.Wishes(), isAttached: true)
  /// In the order in which packets meet them: `ip`, `tcp`, and behind the streams the other way round.
  private(set) var front: [PacketModule] = []
  private(set) var behind: [PacketModule] = []
  /// Whether those come and go as well.
  private(set) var isPacketWorkLive = false
  private(set) var changes = 0
  private var lastID: UInt32 = 0
  /// The flow's, which makes no difference.
  private var priority = 0

  /// - Parameter mayRead: whether some are written like programs that read.
  init(_ random: inout SplitMix, mayRead: Bool) {
    for slot in 0..<Int.random(in: 1...4, using: &random) {
      for member in 0..<Int.random(in: 1...3, using: &random) {
        let isEditor = modules.isEmpty || (member == 0 && !random.once(in: 3))
        var wishes = TracedEditor.Wishes()
        wishes.rule = isEditor ? Self.rule(&random) : [:]
        wishes.hold = [0, 0, 1, 30, 400].randomElement(using: &random) ?? 0
        wishes.isOnThread = !random.once(in: 2)
        wishes.followsMoves = !(mayRead && wishes.isOnThread)
        if !modules.isEmpty, random.once(in: 6) { wishes.limit = Int.random(in: 1...30_000, using: &random) }
        modules.append(
          Module(
            id: nextID(), slot: slot, isEditor: isEditor,
            isReading: mayRead && isEditor && wishes.isOnThread && random.once(in: 2), wishes: wishes,
            isAttached: modules.isEmpty || !random.once(in: 3)))
        let index = modules.count - 1
        modules[index].traces.place.withLock { $0.slot = slot }
      }
    }
    isPacketWorkLive = random.once(in: 2)
    func packetModules() -> [PacketModule] {
      [false, true].filter { _ in random.once(in: 3) }.map {
        PacketModule(
          id: nextID(), isOfSegments: $0, isOnThread: random.once(in: 2), rule: Self.packetRule(&random),
          isAttached: !isPacketWorkLive || random.once(in: 2))
      }
    }
    front = packetModules()
    behind = packetModules().reversed()
  }

  private mutating func nextID() -> UInt32 {
    lastID += 1
    return lastID
  }

  private static func rule(_ random: inout SplitMix) -> [UInt8: [UInt8]] {
    [SimulationTests.shrink, SimulationTests.grow, SimulationTests.mixed, [:], [7: [], 8: [7], 9: [8, 8]]]
      .randomElement(using: &random) ?? [:]
  }

  private static func packetRule(_ random: inout SplitMix) -> [UInt8: UInt8] {
    [[:], [1: 2, 2: 1], [3: 200, 200: 3, 7: 8]].randomElement(using: &random) ?? [:]
  }

  var summary: String {
    func words(_ modules: [PacketModule]) -> [String] {
      modules.map { ($0.isOfSegments ? "tcp" : "ip") + ($0.isOnThread ? " thread" : "") }
    }
    return "\(words(front)) \(modules.map(\.summary)) \(words(behind)), \(changes) changes"
  }

  /// All that work on the stream, the recorder first.
  var all: [Module] { [recorder] + modules }

  func configuration() throws -> Configuration {
    let stages = Dictionary(grouping: all.filter(\.isAttached), by: \.slot).sorted { $0.key < $1.key }
    func packetStages(_ modules: [PacketModule]) -> [[AttachedModule]] {
      modules.filter(\.isAttached).map { [$0.attached] }
    }
    let text = priority.isMultiple(of: 2) ? "tcp,tcp_dst=80" : "ip_proto=6,tcp_dst=80"
    let match = try Match(parsing: text, portNamed: { _ in nil })
    return Configuration(flows: [
      Flow(
        id: 1, name: "f", match: match, priority: priority,
        stages: packetStages(front) + stages.map { $0.value.map(\.attached) } + packetStages(behind))
    ])
  }

  /// Changes something.
  ///
  /// - Parameter starts: for each slot between which octets of what comes there a module would begin that came now.
  mutating func change(_ random: inout SplitMix, mayMove: Bool, starts: [ClosedRange<Int>]) {
    changes += 1
    let index = Int.random(in: 0..<modules.count, using: &random)
    switch Int.random(in: 0..<10, using: &random) {
    case 0..<4 where index > 0 && modules[index].isAttached: detach(index)
    case 0..<4 where !modules[index].isAttached: attach(index, &random, starts)
    case 4 where mayMove: move(index, to: Int.random(in: 0..<Self.slots, using: &random), starts)
    case 5 where index > 0 && modules[index].isAttached:
      // Another one takes its place at once.
      detach(index)
      attach(index, &random, starts)
    case 6 where isPacketWorkLive:
      change(\.front, &random)
    case 7 where isPacketWorkLive:
      change(\.behind, &random)
    case 8:
      // As `flow replace`.
      priority += 1
    default:
      // As `pm set`.
      guard modules[index].isAttached else { break }
      modules[index].wishes.hold = [0, 1, 30].randomElement(using: &random) ?? 0
      if modules[index].isEditor { modules[index].wishes.rule = Self.rule(&random) }
      modules[index].revision += 1
    }
  }

  private func isFree(_ slot: Int, for index: Int) -> Bool {
    !modules[index].isEditor
      || !modules.indices.contains {
        $0 != index && modules[$0].isAttached && modules[$0].isEditor && modules[$0].slot == slot
      }
  }

  private mutating func detach(_ index: Int) { modules[index].isAttached = false }

  private mutating func attach(_ index: Int, _ random: inout SplitMix, _ starts: [ClosedRange<Int>]) {
    guard isFree(modules[index].slot, for: index) else { return }
    modules[index].isAttached = true
    // One that is attached again is another one.
    modules[index].id = nextID()
    if modules[index].isEditor { modules[index].wishes.rule = Self.rule(&random) }
    stand(index, starts)
  }

  private mutating func move(_ index: Int, to slot: Int, _ starts: [ClosedRange<Int>]) {
    guard modules[index].slot != slot, isFree(slot, for: index) else { return }
    modules[index].slot = slot
    // Of two that change places either may be the one that goes on, with what it holds.
    let held = starts.reduce(0) { $0 + $1.upperBound - $1.lowerBound }
    let starts = starts.map { max(0, $0.lowerBound - held)...$0.upperBound }
    for index in modules.indices where modules[index].isAttached { stand(index, starts) }
  }

  private func stand(_ index: Int, _ starts: [ClosedRange<Int>]) {
    let slot = modules[index].slot
    modules[index].traces.place.withLock { $0 = Trace.Place(slot: slot, start: starts[slot]) }
  }

  private mutating func change(
    _ side: WritableKeyPath<PipelinePlan, [PacketModule]>, _ random: inout SplitMix
  ) {
    guard let index = self[keyPath: side].indices.randomElement(using: &random) else { return }
    var module = self[keyPath: side][index]
    if random.once(in: 2) {
      module.isAttached.toggle()
      if module.isAttached { module.id = nextID() }
    } else {
      module.rule = Self.packetRule(&random)
      module.revision += 1
    }
    self[keyPath: side][index] = module
  }
}
