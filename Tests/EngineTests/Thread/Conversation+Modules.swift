import Glibc
import Synchronization
import Testing

@testable import Engine

extension AttachedModule {
  init(_ id: UInt32, _ prototype: any ProcessingModule, run: RunMode = .inline, revision: Int = 0) {
    self.init(id: id, name: "m\(id)", revision: revision, run: run, prototype: prototype)
  }
}

extension Conversation {
  /// An open connection with `stages` on what the server sends, whose threads `threads` makes.
  static func working(
    _ stages: [[AttachedModule]], onFail: Flow.FailurePolicy = .pass, threads: (any ThreadStarter)? = nil
  ) throws -> Conversation {
    var settings = Settings()
    settings.threads = threads
    var conversation = try Conversation([], settings: settings)
    try conversation.configure(stages, onFail: onFail)
    try conversation.shakeHands()
    return conversation
  }

  /// Swaps in one flow, with `stages` on what the server sends, unless `match` says otherwise.
  mutating func configure(
    _ stages: [[AttachedModule]], onFail: Flow.FailurePolicy = .pass, match: String = "tcp,tcp_src=80"
  ) throws {
    let match = try Match(parsing: match, portNamed: { _ in nil })
    box.engine.apply(
      Configuration(flows: [Flow(id: 1, name: "f", match: match, priority: 0, onFail: onFail, stages: stages)]), at: now
    )
  }

  /// Takes over what threads have returned; what leaves then.
  mutating func collect() -> [TCPPacket] {
    box.engine.collect(at: now)
    return box.takeInjections()
  }

  /// Takes over what real threads return until what has left is enough; gives them ten seconds.
  mutating func collect(until isEnough: ([TCPPacket]) -> Bool) -> [TCPPacket] {
    var packets = collect()
    for _ in 0..<20_000 where !isEnough(packets) {
      usleep(500)
      packets += collect()
    }
    return packets
  }

  /// Of the connection's modules.
  var states: [String] { box.engine.connections(limit: 1).first?.modules.map(\.state) ?? [] }
}

extension [TCPPacket] {
  /// What they carry, each once, one behind the other.
  var text: String { String(decoding: flatMap(\.payload), as: UTF8.self) }
  var hasFinish: Bool { contains { $0.tcp.flags.contains(.fin) } }
  var hasReset: Bool { contains { $0.tcp.flags.contains(.rst) } }
}

/// Where a module stops in the middle of a call until the test lets it go on.
final class Gate: Sendable {
  private let isReached = Atomic(false)
  private let isOpen = Atomic(false)

  func pass() {
    isReached.store(true, ordering: .releasing)
    while !isOpen.load(ordering: .acquiring) { usleep(500) }
  }

  func open() { isOpen.store(true, ordering: .releasing) }

  /// Waits until a module stands here; gives it ten seconds.
  func awaitVisitor() {
    for _ in 0..<20_000 where !isReached.load(ordering: .acquiring) { usleep(500) }
    let isHere = isReached.load(ordering: .acquiring)
    #expect(isHere)
  }
}
