import Glibc
import Synchronization

@testable import Engine

/// An engine with one module of the layer `ip` on its bench: packets in, packets out. With `FLOWOS_PACKETS_ON_THREADS` in the
/// environment it runs on a thread, and whoever uses the bench sees no difference.
struct PacketBench: ~Copyable {
  private static let run: AttachedModule.RunMode =
    unsafe getenv("FLOWOS_PACKETS_ON_THREADS") == nil ? .inline : .thread
  private let thread: BenchThread
  private var engine: Engine
  var now = Instant.zero
  private let description: ModuleDescription
  /// What modules have told.
  private(set) var events: [ModuleEvent.Content] = []

  /// A module of `kind` as `pm attach` makes it, on a flow of `match`.
  init<Module: ProcessingModule>(_ kind: Module.Type, _ given: [String: String], match: String = "any") throws {
    self.init(try Self.make(kind, given), match: try Match(parsing: match, portNamed: { _ in nil }))
  }

  /// With a copy of a module that works elsewhere too.
  init(_ module: any ProcessingModule, match: Match) {
    thread = BenchThread()
    var settings = Settings()
    settings.threads = thread
    engine = Engine(settings)
    description = type(of: module).description
    configure(module, revision: 0, match)
  }

  static func make<Module: ProcessingModule>(_ kind: Module.Type, _ given: [String: String]) throws -> Module {
    try kind.init(Arguments(given.map { (key: $0.key, value: $0.value) }, for: kind.description.parameters))
  }

  mutating func configure(_ module: any ProcessingModule, revision: Int, _ match: Match) {
    let attached = AttachedModule(id: 1, name: "bench", revision: revision, run: Self.run, prototype: module)
    engine.apply(
      Configuration(flows: [Flow(id: 1, name: "flow", match: match, priority: 0, stages: [[attached]])]), at: now)
  }

  /// What leaves for a packet: itself, if it goes on, then what is injected.
  mutating func receive(_ packet: [UInt8]) -> [[UInt8]] {
    let buffer = unsafe engine.receiveBuffers(1)[0]
    unsafe buffer.copyBytes(from: packet)
    let verdict = engine.receive(0, packet: 0..<packet.count, metadata: PacketMetadata(), at: now)
    var out: [[UInt8]] = []
    switch verdict {
    case .accept: out.append(packet)
    case .drop: break
    case .mangle(let outgoing, _): out.append(gather(outgoing))
    }
    takeInjections(&out)
    thread.step(at: now)
    while engine.hasReturns {
      engine.collect(at: now)
      takeInjections(&out)
      thread.step(at: now)
    }
    return out
  }

  private mutating func takeInjections(_ out: inout [[UInt8]]) {
    out += engine.output.injections.map { gather($0.packet) }
    events += engine.output.events.map(\.content)
    engine.recycle()
  }

  private func gather(_ packet: OutgoingPacket) -> [UInt8] {
    var bytes: [UInt8] = []
    for index in packet.pieces { unsafe bytes.append(contentsOf: engine.output.pieces[index]) }
    return bytes
  }

  /// How often the module has failed.
  var failures: UInt64 { engine.statistics.engine.moduleFailures }

  /// What the module has counted under `name`.
  func count(_ name: String) -> UInt64? {
    description.counters.firstIndex(of: name).flatMap { engine.statistics.modules[1]?.own[$0] }
  }
}

/// The thread of a bench, which works when it is told to.
private final class BenchThread: ThreadStarter {
  private let state = Mutex((exchanges: [ModuleExchange](), now: Instant.zero))

  func start(_ exchange: ModuleExchange) -> Bool {
    state.withLock { $0.exchanges.append(exchange) }
    return true
  }

  func now() -> Instant { state.withLock { $0.now } }
  func wakeEngine() {}

  func step(at now: Instant) {
    state.withLock { $0.now = now }
    for exchange in state.withLock({ $0.exchanges }) where !exchange.step() {
      exchange.leave()
      state.withLock { $0.exchanges.removeAll { $0 === exchange } }
    }
  }
}

/// Packets for it, with every checksum right.
enum Datagram {
  static func udp(_ source: String, _ sourcePort: UInt16, _ destination: String, _ port: UInt16) -> [UInt8] {
    packet(source, destination, 17, octets(sourcePort) + octets(port) + [0, 12, 0, 1, 1, 2, 3, 4])
  }

  static func tcp(
    _ source: String, _ sourcePort: UInt16, _ destination: String, _ port: UInt16, flags: UInt8 = 0x10
  ) -> [UInt8] {
    packet(
      source, destination, 6,
      octets(sourcePort) + octets(port) + [0, 0, 0, 1, 0, 0, 0, 2, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0])
  }

  static func echo(_ source: String, _ destination: String, _ identifier: UInt16, isReply: Bool = false) -> [UInt8] {
    let isIPv6 = source.contains(":")
    let type: UInt8 = isIPv6 ? (isReply ? 129 : 128) : (isReply ? 0 : 8)
    return packet(source, destination, isIPv6 ? 58 : 1, [type, 0, 0, 0] + octets(identifier) + [0, 1, 9, 9])
  }

  /// "Port unreachable" about `packet`, of which it quotes `count` octets.
  static func unreachable(_ source: String, _ destination: String, about packet: [UInt8], count: Int = 1_000) -> [UInt8]
  {
    let isIPv6 = source.contains(":")
    return self.packet(
      source, destination, isIPv6 ? 58 : 1, (isIPv6 ? [1, 4] : [3, 3]) + [0, 0, 0, 0, 0, 0] + packet.prefix(count))
  }

  static func octets(_ number: UInt16) -> [UInt8] { [UInt8(number >> 8), UInt8(number & 0xff)] }

  static func packet(_ source: String, _ destination: String, _ number: UInt8, _ payload: [UInt8]) -> [UInt8] {
    let ends = [source, destination].map { address(IPAddress($0)!) }
    let header: [UInt8] =
      ends[0].count == 16
      ? [0x60, 0, 0, 0] + octets(UInt16(payload.count)) + [number, 64]
      : [0x45, 0] + octets(UInt16(20 + payload.count)) + [0, 0, 0, 0, 64, number, 0, 0]
    var bytes = header + ends[0] + ends[1] + payload
    if case .packet(let headers) = PacketHeaders.parse(bytes.span) {
      var span = bytes.mutableSpan
      HeaderPatch.setChecksums(of: headers, in: &span)
    }
    return bytes
  }

  private static func address(_ address: IPAddress) -> [UInt8] {
    let octets = [address.high, address.low].flatMap { word in (0..<8).map { UInt8(word >> (56 - 8 * $0) & 0xff) } }
    return address.isIPv4 ? Array(octets.suffix(4)) : octets
  }
}

extension [UInt8] {
  /// Ends and protocol of a packet, with what it quotes where it is an ICMP error; `wrong` where a checksum is.
  var line: String {
    guard case .packet(let headers) = PacketHeaders.parse(span) else { return "malformed" }
    guard Checksum.verifyHeader(packet: span, headers: headers),
      Checksum.verifyTransport(packet: span, headers: headers)
    else { return "wrong" }
    let ip = headers.ip
    switch headers.transport {
    case .tcp(let tcp): return "\(ip.source):\(tcp.sourcePort) > \(ip.destination):\(tcp.destinationPort) tcp"
    case .udp(let udp): return "\(ip.source):\(udp.sourcePort) > \(ip.destination):\(udp.destinationPort) udp"
    case .icmp(let icmp):
      let isEcho = ip.isIPv6 ? icmp.type >= 128 : icmp.type == 8 || icmp.type == 0
      guard !isEcho else {
        let at = headers.payloadOffset - 4
        return "\(ip.source) > \(ip.destination) echo \(Int(self[at]) << 8 | Int(self[at + 1]))"
      }
      let quoted = [UInt8](self[headers.payloadOffset...])
      return "\(ip.source) > \(ip.destination) error (\(quoted.line))"
    case .fragment: return "\(ip.source) > \(ip.destination) fragment"
    case .other(let number): return "\(ip.source) > \(ip.destination) \(number)"
    }
  }
}
