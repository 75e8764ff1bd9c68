import Engine

/// The real engine with one module at work, the module's threads and a clock: what the benches have in common.
@safe final class Rig {
  var engine: Engine
  private let threads = BenchThreads()
  private(set) var now = Instant(nanoseconds: 1_000_000_000)
  private(set) var prototype: any ProcessingModule
  private var revision = 0
  /// Whether the flows have the module.
  var isAttached: Bool
  private let matches: [Match]
  private let onFail: Flow.FailurePolicy
  private let run: AttachedModule.RunMode
  private let description: ModuleDescription
  /// Events of the module so far.
  private(set) var events: [ModuleEvent.Content] = []
  /// What it has counted, for it is asked for when the module is gone as well.
  private var statistics: (common: ModuleCounters, own: [UInt64])?

  /// The identifier of the module.
  static var module: UInt32 { 1 }

  /// - Parameter matches: those of the flows that the module is attached to.
  init(
    _ prototype: any ProcessingModule, matches: [Match], runsAsThread: Bool, cutsOffFailures: Bool,
    isAttached: Bool = true
  ) {
    var settings = Settings()
    settings.threads = threads
    engine = Engine(settings)
    self.prototype = prototype
    self.matches = matches
    self.isAttached = isAttached
    description = type(of: prototype).description
    run = runsAsThread || description.needsThread ? .thread : .inline
    onFail = cutsOffFailures ? .drop : .pass
    threads.setTime(now)
    configure()
  }

  deinit { threads.end() }

  /// Makes a module as `pm attach` does.
  static func make<Module: ProcessingModule>(
    _ kind: Module.Type, _ arguments: KeyValuePairs<String, String>
  ) throws(ArgumentError) -> Module {
    try kind.init(Arguments(arguments.map { (key: $0.key, value: $0.value) }, for: kind.description.parameters))
  }

  static func match(_ text: String) throws(MatchError) -> Match { try Match(parsing: text, portNamed: { _ in nil }) }

  // MARK: Control

  /// What `pm set` does.
  func set(_ arguments: KeyValuePairs<String, String>) throws(ArgumentError) {
    func another<Module: ProcessingModule>(_ current: Module) throws(ArgumentError) -> any ProcessingModule {
      try Self.make(Module.self, arguments)
    }
    adopt(try another(prototype))
  }

  func adopt(_ prototype: any ProcessingModule) {
    self.prototype = prototype
    revision += 1
    configure()
  }

  /// Applies what has changed. What comes of it waits for ``settle()``.
  func configure() {
    statistics = engine.statistics.modules[Self.module] ?? statistics
    let attached = AttachedModule(id: Self.module, name: "module", revision: revision, run: run, prototype: prototype)
    let flows = matches.enumerated().map { index, match in
      Flow(
        id: UInt32(index), name: match.description, match: match, priority: 0, onFail: onFail,
        stages: isAttached ? [[attached]] : [])
    }
    engine.apply(Configuration(flows: flows), at: now)
  }

  // MARK: Packets and time

  /// What the verdict on a packet was.
  enum Verdict {
    case accepted, dropped
    case mangled(Packet)
  }

  /// Gives the engine a packet. What comes of it beside the verdict waits for ``settle()``.
  func receive(_ packet: Packet, _ metadata: PacketMetadata = PacketMetadata()) -> Verdict {
    let buffer = unsafe engine.receiveBuffers(1)[0]
    precondition(packet.octets.count <= buffer.count, "a packet has no more than \(buffer.count) octets")
    unsafe buffer.copyBytes(from: packet.octets)
    switch engine.receive(0, packet: 0..<packet.octets.count, metadata: metadata, at: now) {
    case .accept: return .accepted
    case .drop: return .dropped
    case .mangle(let packet, _): return .mangled(gather(packet))
    }
  }

  /// Lets the module's thread work, until it waits for more. Returns what the engine has injected since the last time, and notes
  /// what the module has told.
  func settle() -> [Packet] {
    var packets = takeOutput()
    guard run == .thread else { return packets }
    threads.settle()
    while engine.hasReturns {
      engine.collect(at: now)
      packets += takeOutput()
      threads.settle()
    }
    return packets
  }

  private func takeOutput() -> [Packet] {
    let packets = engine.output.injections.map { gather($0.packet) }
    events += engine.output.events.map(\.content)
    engine.recycle()
    return packets
  }

  /// Has the clock show `time` or later, and does what is due by then.
  func advance(to time: Instant) {
    now = max(now, time)
    threads.setTime(now)
    engine.advance(to: now)
  }

  private func gather(_ packet: OutgoingPacket) -> Packet {
    var octets: [UInt8] = []
    octets.reserveCapacity(packet.length)
    for index in packet.pieces { unsafe octets.append(contentsOf: engine.output.pieces[index]) }
    return Packet(octets)
  }

  // MARK: What became of it

  /// What the module has counted so far under `name`, its own counters and those that every module has; nil where there is no such.
  func count(_ name: String) -> Int? {
    guard let counted = engine.statistics.modules[Self.module] ?? statistics else { return nil }
    if let index = description.counters.firstIndex(of: name) { return Int(counted.own[index]) }
    return counted.common.named.first { $0.name == name }.map { Int($0.value) }
  }
}
