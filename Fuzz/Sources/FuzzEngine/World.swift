import Engine
import Glibc
import ModuleTesting

/// Traps where `condition` does not hold, saying so also in optimised builds.
func require(_ condition: Bool, _ message: @autoclosure () -> String = "") {
  guard !condition else { return }
  print("wrong:", message())
  fflush(nil)
  abort()
}

/// An engine between the ends of four connections, played by a tape.
///
///     0     honest ends on links that lose and reorder: all they send has to arrive in the end
///     1, 2  ends, or others in their name, that send whatever they like
///     3     packets that are hardly packets
///
/// After every packet: one verdict, and whatever leaves has right lengths and checksums. As long as the engine reads a
/// connection, what its destination gets is what the last module saw. In the end everything held is given back.
struct World: ~Copyable {
  struct Connection {
    let client: Address
    let server: Address
    /// To the server, to the client.
    var paths: [Path]
    var epoch: Int
    /// The engine's number for it, nil where it was never read, or is not any more.
    var id: UInt64?
  }

  private var tape: Tape
  private var engine: Engine
  private let settings: Settings
  private var now = Instant(nanoseconds: 1_000_000_000)
  private var connections: [Connection] = []
  private var epochs = 0
  /// Packets that are under way to the engine, and come late.
  private var stash: [(Packet, Int, Bool)] = []
  /// Packets of connection 0 that are lost behind the engine from now on.
  private var losses = 0
  private var lastModule: UInt32 = 100
  /// Modules attached beside the recorder, with the revision of each.
  private var attached: [AttachedModule] = []
  private let threads = ManualThreads(limit: 40)
  /// Whether the recorders have no more interest, and so the record ends.
  private var isLeaving = false
  /// Whether a reader has held octets that may have passed before their turn: the destination may be ahead of the record.
  private var hasWatched = false
  private let segment: Int

  init(_ tape: consuming Tape) {
    var settings = Settings()
    let options = tape.byte()
    if options & 1 != 0 { settings.memoryLimit = 400_000 }
    if options & 2 != 0 { settings.connectionLimit = 2 }
    segment = options & 4 != 0 ? 1_460 : 100
    settings.threads = threads
    self.settings = settings
    engine = Engine(settings)
    self.tape = tape
    Recorder.records = []
    Recorder.owners = []
    Recorder.epochs = [0, 0, 0, 0]
  }

  static func address(_ connection: Int, _ isServer: Bool) -> Address {
    let last = (connection * 2 + (isServer ? 1 : 0) + 1)
    let host = connection == 1 ? "fd00::\(last)" : "10.0.\(isServer ? 1 : 0).\(last)"
    return Address(host: host, port: isServer ? 80 : 40_000)
  }

  mutating func play() {
    configure()
    for index in 0..<4 {
      connections.append(
        Connection(client: Self.address(index, false), server: Self.address(index, true), paths: [], epoch: 0, id: nil))
      open(index)
    }
    var steps = 0
    while !tape.isAtEnd, steps < 1_000 {
      steps += 1
      step()
    }
    drain()
    release()
  }

  private mutating func step() {
    switch tape.choice(16) {
    case 0, 1, 2: send(tape.choice(3))
    case 3: retransmit(tape.choice(3))
    case 4, 5: acknowledge(tape.choice(3))
    case 6: finish(tape.choice(3))
    case 7: losses = tape.choice(4)
    case 8: releaseStash()
    case 9: advance(by: Int64(tape.byte()) * Int64(tape.byte()) * 1_000_000)
    case 10: reconfigure()
    case 11, 12, 13: forge(1 + tape.choice(2))
    case 14: forgeNumbers(1 + tape.choice(2))
    default:
      switch tape.choice(6) {
      case 0: open(1 + tape.choice(2))
      case 1: complain(tape.choice(3))
      case 4: work(tape.byte())
      case 5: kill(1 + tape.choice(2))
      default: scramble()
      }
    }
  }

  /// Lets one of the threads work, and takes over what it has returned.
  private mutating func work(_ which: UInt8) {
    guard threads.count > 0 else { return }
    threads.step(Int(which) % threads.count)
    engine.collect(at: now)
    takeInjections()
    for index in connections.indices { verify(index) }
  }

  private mutating func kill(_ index: Int) {
    guard let id = connections[index].id else { return }
    connections[index].id = nil
    _ = engine.kill(connection: id, at: now)
    takeInjections()
  }

  // MARK: Control

  private mutating func configure() {
    func flow(_ id: Int, _ text: String, _ recorder: Recorder) -> Flow {
      guard let match = try? Match(parsing: text, portNamed: { _ in nil }) else { fatalError("the match is right") }
      let last = AttachedModule(
        id: UInt32(id), name: "recorder", revision: isLeaving ? 1 : 0, prototype: recorder)
      var stages: [[AttachedModule]] = []
      // Behind the streams the recorder would not see what a mapper makes.
      for module in attached.filter({ $0.prototype is Mapper }) + attached.filter({ !($0.prototype is Mapper) }) {
        let isReader = module.description.layer == .app && module.description.access == .read
        // Some readers join the stage in front of them.
        if isReader, module.id.isMultiple(of: 2), stages.last?.contains(where: { $0.description.layer == .app }) == true
        {
          stages[stages.count - 1].append(module)
        } else {
          stages.append([module])
        }
      }
      return Flow(id: UInt32(id), name: text, match: match, priority: 0, stages: stages + [[last]])
    }
    if Self.isTracing { print("modules", attached.map(\.description.kind)) }
    let sources = ["tcp,nw_src=10.0.0.1", "tcp,nw_src=10.0.1.2", "tcp6,ipv6_src=fd00::3", "tcp6,ipv6_src=fd00::4"]
    let flows = (sources + ["tcp,nw_src=10.0.0.5", "tcp,nw_src=10.0.1.6", "tcp,nw_src=10.0.0.7"]).enumerated().map {
      flow($0.offset + 1, $0.element, Recorder(place: $0.offset, isLeaving: isLeaving))
    }
    engine.apply(Configuration(flows: flows), at: now)
    takeInjections()
  }

  private mutating func reconfigure() {
    switch tape.choice(6) {
    case 4 where !attached.isEmpty:
      let module = attached.remove(at: tape.choice(attached.count))
      attached.insert(module, at: tape.choice(attached.count + 1))
    case 5 where tape.choice(4) == 0: isLeaving = true
    case 0 where !attached.isEmpty: attached.remove(at: tape.choice(attached.count))
    case 1 where !attached.isEmpty:
      let index = tape.choice(attached.count)
      let old = attached[index]
      attached[index] = AttachedModule(
        id: old.id, name: old.name, revision: old.revision + 1, run: old.run,
        prototype: old.prototype is Editor ? editor() : old.prototype)
    default:
      guard attached.count < 4 else { break }
      lastModule += 1
      let kind = tape.choice(10)
      let prototype: any ProcessingModule =
        switch kind {
        case 0: Holder()
        case 1: Lingerer()
        case 4, 9: watcher()
        case 5: HopSetter()
        case 6: Mapper()
        case 7: Leaver()
        default: editor()
        }
      let module = AttachedModule(
        id: lastModule, name: "m\(lastModule)", run: kind >= 8 ? .thread : .inline, prototype: prototype)
      attached.insert(module, at: tape.choice(attached.count + 1))
    }
    configure()
  }

  private mutating func watcher() -> Watcher {
    hasWatched = true
    return Watcher()
  }

  private mutating func editor() -> Editor {
    var rule: [UInt8: [UInt8]] = [:]
    for _ in 0..<tape.choice(4) {
      // What all of them do together must stay within what the ends can finish in the time they have.
      let count = [0, 0, 1, 1, 2, 2, attached.isEmpty ? 40 : 2][tape.choice(7)]
      rule[UInt8(tape.choice(8))] = [UInt8](repeating: UInt8(tape.choice(16)), count: count)
    }
    return Editor(rule: rule, hold: [0, 0, 3, 200][tape.choice(4)])
  }

  // MARK: Packets in

  private mutating func open(_ index: Int) {
    epochs += 1
    let starts = [UInt32(truncatingIfNeeded: tape.number(2) << 16), UInt32(truncatingIfNeeded: tape.number(2) << 16)]
    let window = index == 0 ? 20_000 : tape.number(2)
    connections[index].epoch = epochs
    Recorder.epochs[index] = epochs
    connections[index].id = nil
    connections[index].paths = (0..<2).map {
      Path(start: starts[$0] &+ 1, salt: UInt32(epochs * 2 + $0), window: window)
    }
    let options: [UInt8] = [2, 4] + Packet.octets(UInt16(segment)) + [4, 2] + (tape.flag() ? [3, 3, 0] : [])
    let client = connections[index].client
    let server = connections[index].server
    let before = engine.connections(limit: 10).map(\.id)
    feed(
      Packet(
        client, server, sequence: starts[0], acknowledgement: 0, flags: .syn, window: UInt16(window), options: options),
      index)
    feed(
      Packet(
        server, client, sequence: starts[1], acknowledgement: starts[0] &+ 1, flags: [.syn, .ack],
        window: UInt16(window), options: options), index)
    // Over a connection that still runs no new one is read.
    connections[index].id =
      engine.connections(limit: 10).first { $0.state == "syn-received" && !before.contains($0.id) }?.id
    acknowledge(index, from: 0, window: window)
  }

  private mutating func packet(
    _ index: Int, _ path: Int, at offset: Int, flags: Packet.Flags = .ack, window: Int = 20_000, payload: [UInt8] = [],
    options: [UInt8] = []
  ) -> Packet {
    let connection = connections[index]
    let ends = path == 0 ? (connection.client, connection.server) : (connection.server, connection.client)
    return Packet(
      ends.0, ends.1, sequence: connection.paths[path].number(offset),
      acknowledgement: connection.paths[1 - path].number(connection.paths[1 - path].next), flags: flags,
      window: UInt16(clamping: window), options: options, payload: payload)
  }

  /// Has the packet come now, or later.
  private mutating func give(_ packet: Packet, _ index: Int) {
    let isGSO = packet.payload.count > segment
    guard tape.choice(8) == 0, stash.count < 20 else { return feed(packet, index, isGSO: isGSO) }
    stash.append((packet, index, isGSO))
  }

  private mutating func releaseStash() {
    while !stash.isEmpty {
      let (packet, index, isGSO) = stash.remove(at: tape.choice(stash.count))
      feed(packet, index, isGSO: isGSO)
    }
  }

  private mutating func send(_ index: Int) {
    let path = tape.choice(2)
    let state = connections[index].paths[path]
    let length = [1, 5, 100, 1_000, 9_000, 30_000][tape.choice(6)] + tape.choice(100)
    let count = min(length, state.offered - state.sent, 60_000 - state.sent)
    guard count > 0, !state.sentFinish else { return }
    connections[index].paths[path].sent += count
    let payload = state.octets(state.sent..<state.sent + count)
    give(packet(index, path, at: state.sent, payload: payload), index)
  }

  private mutating func retransmit(_ index: Int) {
    let path = tape.choice(2)
    let state = connections[index].paths[path]
    let from = max(0, state.acknowledged - tape.choice(50)) + tape.choice(200)
    let count = min([1, 50, 100, 1_400, 20_000][tape.choice(5)], state.sent - from)
    guard count > 0 else { return }
    let isFinish = state.sentFinish && from + count == state.sent
    let payload = state.octets(from..<from + count)
    give(packet(index, path, at: from, flags: isFinish ? [.ack, .fin] : .ack, payload: payload), index)
  }

  private mutating func finish(_ index: Int) {
    let path = tape.choice(2)
    connections[index].paths[path].sentFinish = true
    give(packet(index, path, at: connections[index].paths[path].sent, flags: [.ack, .fin]), index)
  }

  private mutating func acknowledge(_ index: Int) {
    acknowledge(index, from: tape.choice(2), window: [0, 1, 100, 3_000, 20_000, 60_000][tape.choice(6)])
  }

  /// The source of `path` acknowledges what it has of the other.
  private mutating func acknowledge(_ index: Int, from path: Int, window: Int) {
    let other = connections[index].paths[1 - path]
    // What was offered is not taken back.
    let edge = max(other.edge, other.next + window)
    connections[index].paths[1 - path].edge = edge
    let own = connections[index].paths[path]
    give(packet(index, path, at: own.sent + (own.sentFinish ? 1 : 0), window: max(0, edge - other.next)), index)
  }

  /// A segment near what is expected, with anything in it.
  private mutating func forge(_ index: Int) {
    let path = tape.choice(2)
    let state = connections[index].paths[path]
    let bases = [0, state.sent, state.acknowledged, state.offered, state.edge, state.next]
    let at = bases[tape.choice(6)] + tape.choice(64) - 32
    let count = [0, 1, 2, 60, 200, 1_400, 17_000, 50_000][tape.choice(8)]
    let payload = tape.flag() ? [UInt8](repeating: tape.byte() & 15, count: count) : state.octets(at..<at + count)
    let flags = Packet.Flags(rawValue: [16, 16, 16, 17, 24, 0, 1, 48, 20, 4, 2, 18][tape.choice(12)])
    if at >= 0, at + count <= state.sent + 65_535 { connections[index].paths[path].sent = max(state.sent, at + count) }
    let options = self.options(index, path)
    let packet = packet(index, path, at: at, flags: flags, payload: payload, options: options)
    feed(packet, index, isGSO: payload.count > segment && tape.flag())
  }

  /// A segment with numbers from anywhere.
  private mutating func forgeNumbers(_ index: Int) {
    let path = tape.choice(2)
    let connection = connections[index]
    let ends = path == 0 ? (connection.client, connection.server) : (connection.server, connection.client)
    func number(_ path: Path, _ tape: inout Tape) -> UInt32 {
      switch tape.choice(4) {
      case 0: UInt32(truncatingIfNeeded: tape.number(4))
      case 1: path.number(path.next + tape.choice(200) - 100)
      case 2: path.number(path.sent) &+ UInt32(1) << 31 &+ UInt32(tape.choice(3)) &- 1
      default: path.number(path.sent + tape.choice(3) - 1)
      }
    }
    feed(
      Packet(
        ends.0, ends.1, sequence: number(connection.paths[path], &tape),
        acknowledgement: number(connection.paths[1 - path], &tape),
        flags: Packet.Flags(rawValue: tape.flag() ? 16 : 17),
        window: UInt16(tape.number(2)), options: options(index, path),
        payload: [UInt8](repeating: 9, count: tape.choice(3))), index)
  }

  private mutating func options(_ index: Int, _ path: Int) -> [UInt8] {
    switch tape.choice(6) {
    case 0:
      var list: [UInt8] = [1, 1, 5, 18]
      for _ in 0..<4 {
        let other = connections[index].paths[1 - path]
        list += Packet.octets(other.number(other.next + tape.number(2) - 1_000))
      }
      return list
    case 1: return (0..<tape.choice(40)).map { _ in tape.byte() }
    case 2: return [8, 10] + (0..<8).map { _ in tape.byte() }
    default: return []
    }
  }

  /// An ICMP error about a segment near what is under way, which may say anything of the path.
  private mutating func complain(_ index: Int) {
    let path = tape.choice(2)
    let state = connections[index].paths[path]
    let bases = [0, state.received.count, state.next, state.sent]
    let segment = packet(
      index, path, at: bases[tape.choice(4)] + tape.choice(200) - 100,
      payload: [UInt8](repeating: 9, count: [0, 600, 1_500, 30_000][tape.choice(4)]))
    let quoted = segment.octets.prefix([28, 48, 60, 548, 548, 548, 20_000, tape.choice(100)][tape.choice(8)])
    let mtu = UInt16([0, 68, 552, 576, 1_000, 1_280, 1_400, tape.number(2)][tape.choice(8)])
    let isNarrow = tape.choice(4) > 0
    let head: [UInt8] = segment.isIPv6 ? [isNarrow ? 2 : 1, 0] : [isNarrow ? 3 : 11, isNarrow ? 4 : 0]
    var error = Packet(router: segment, message: head + [0, 0, 0, 0] + Packet.octets(mtu) + quoted)
    for _ in 0..<(tape.choice(4) == 0 ? 3 : 0) { error.octets[tape.number(2) % error.octets.count] = tape.byte() }
    let places = engine.receiveBuffers(1)
    for (offset, byte) in error.octets.enumerated() { places[0][32 + offset] = byte }
    var metadata = PacketMetadata()
    metadata.inPort = UInt32(tape.choice(2))
    metadata.isChecksumTrusted = true
    switch engine.receive(0, packet: 32..<32 + error.octets.count, metadata: metadata, at: now) {
    case .accept: break
    case .drop: require(false, "an error is not dropped")
    case .mangle(let outgoing, _):
      require(gather(outgoing).octets.count == error.octets.count, "an error keeps its length")
    }
    takeInjections()
    verify(index)
  }

  /// Octets that need not be a packet at all.
  private mutating func scramble() {
    var packet = packet(
      3, tape.choice(2), at: tape.choice(100), payload: [UInt8](repeating: 7, count: tape.choice(200)))
    for _ in 0..<tape.choice(8) { packet.octets[tape.number(2) % packet.octets.count] = tape.byte() }
    if tape.choice(4) == 0 { packet.octets.removeLast(tape.choice(packet.octets.count)) }
    feed(packet, 3, isTrusted: tape.flag())
  }

  private mutating func advance(by span: Int64) {
    if Self.isTracing { print("time", span / 1_000_000) }
    now = Instant(nanoseconds: now.nanoseconds + span)
    threads.setTime(now)
    engine.advance(to: now)
    takeInjections()
    for index in connections.indices { verify(index) }
  }

  // MARK: Packets out

  private mutating func feed(_ packet: Packet, _ index: Int, isGSO: Bool = false, isTrusted: Bool = false) {
    trace("in ", packet, index)
    let places = engine.receiveBuffers(3)
    let buffer = tape.choice(3)
    for (offset, byte) in packet.octets.enumerated() { places[buffer][32 + offset] = byte }
    var metadata = PacketMetadata()
    metadata.isGSO = isGSO
    metadata.isChecksumTrusted = isTrusted
    let verdict = engine.receive(buffer, packet: 32..<32 + packet.octets.count, metadata: metadata, at: now)
    switch verdict {
    case .accept: leave(packet, index, isOurs: false)
    case .drop: break
    case .mangle(let outgoing, _):
      require(outgoing.length <= OutgoingPacket.limit, "a verdict cannot carry it")
      let packet = gather(outgoing)
      if isGSO { require(packet.payload.count > segment, "the kernel would drop it") }
      leave(packet, index, isOurs: true)
    }
    takeInjections()
    require(
      engine.statistics.memoryInUse < settings.memoryLimit + (16 << 20), "memory without bounds")
    verify(index)
  }

  private mutating func takeInjections() {
    var list: [Packet] = []
    for injection in engine.output.injections {
      require(injection.mark & Marks.standard.injected != 0)
      list.append(gather(injection.packet))
    }
    engine.recycle()
    for packet in list {
      let source = packet.source
      let index = connections.firstIndex { [$0.client.host, $0.server.host].contains(source) }
      leave(packet, index ?? 3, isOurs: true)
    }
  }

  private func gather(_ packet: OutgoingPacket) -> Packet {
    var bytes: [UInt8] = []
    for index in packet.pieces { bytes += engine.output.pieces[index] }
    require(bytes.count == packet.length, "its length is wrong")
    return Packet(bytes)
  }

  private mutating func leave(_ packet: Packet, _ index: Int, isOurs: Bool) {
    if isOurs, index < 3 { require(packet.isWellFormed, "its checksum or a length is wrong") }
    guard index < 3 else { return }
    if index == 0, losses > 0 {
      losses -= 1
      trace("lost", packet, index)
      return
    }
    trace(isOurs ? "  made" : "  pass", packet, index)
    let path = packet.sourcePort == connections[index].client.port ? 0 : 1
    connections[index].paths[path].deliver(packet)
    connections[index].paths[1 - path].acknowledge(packet)
  }

  /// Whether all that happens is printed, to find out what an input does: `TRACE=1` in the environment.
  private static let isTracing = getenv("TRACE") != nil

  private func trace(_ label: String, _ packet: Packet, _ index: Int) {
    guard Self.isTracing, index < 3, packet.isWellFormed, !connections[index].paths.isEmpty else { return }
    let path = packet.sourcePort == connections[index].client.port ? 0 : 1
    let paths = connections[index].paths
    print(
      label, "\(index)\(path == 0 ? ">" : "<")", "seq", paths[path].offset(packet.sequence), "+\(packet.payload.count)",
      "ack", paths[1 - path].offset(packet.acknowledgement), "win", packet.window, "flags", packet.flags.rawValue,
      "of \(paths[path].sent), received \(paths[path].received.count)")
  }

  // MARK: Oracles

  /// What the destinations have is what the last module saw.
  private mutating func verify(_ index: Int) {
    guard index < 3, let id = connections[index].id else { return }
    let known = engine.connections(limit: 10).first { $0.id == id }
    require(known?.state != "offloaded" || known?.isEdited == false, "an edited connection is left to the kernel")
    guard let known, ["syn-received", "established", "closing"].contains(known.state) else {
      connections[index].id = nil
      return
    }
    for path in 0..<2 {
      let received = connections[index].paths[path].received
      let mine = Recorder.owners.indices.filter { Recorder.owners[$0] == connections[index].epoch * 2 + path }
      guard mine.count <= 1 else { continue }
      let record = mine.first.map { Recorder.records[$0] } ?? []
      require(
        hasWatched || isLeaving || received.count <= record.count,
        "octets got past the modules of \(index), path \(path)")
      let count = min(received.count, record.count)
      require(received[..<count] == record[..<count], "the destination got something else than the modules saw")
    }
  }

  /// Honest ends get all across, as long as they go on: within half a minute something more of it arrives.
  private mutating func drain() {
    losses = 0
    releaseStash()
    for path in 0..<2 where connections[0].id != nil {
      connections[0].paths[path].sentFinish = true
    }
    var (waited, progress) = (0, -1)
    while waited < 120 {
      let now = connections[0].paths.reduce(0) { $0 + $1.next + $1.acknowledged }
      waited = now > progress ? 0 : waited + 1
      progress = max(progress, now)
      guard connections[0].id != nil, !connections[0].paths.contains(where: \.isReset), !isDrained else { return }
      advance(by: 250_000_000)
      for index in (0..<threads.count).reversed() { work(UInt8(index)) }
      for path in 0..<2 {
        acknowledge(0, from: path, window: 20_000)
        let state = connections[0].paths[path]
        var at = state.acknowledged
        repeat {
          let count = max(0, min(segment, state.sent - at))
          let isLast = at + count >= state.sent
          feed(
            packet(0, path, at: at, flags: isLast ? [.ack, .fin] : .ack, payload: state.octets(at..<at + count)), 0)
          at += count
          if isLast { break }
        } while at < min(state.offered, state.acknowledged + 4_000)
      }
    }
    // Where hardly any memory is allowed the others may have all of it.
    require(settings.memoryLimit < 1 << 20 || settings.connectionLimit < 4, "the connection has stalled")
  }

  private var isDrained: Bool {
    connections[0].paths.allSatisfy { $0.receivedFinish && $0.acknowledged == $0.sent + 1 }
  }

  /// Forgotten connections leave nothing behind.
  private mutating func release() {
    for index in connections.indices { connections[index].id = nil }
    for _ in 0..<3 {
      advance(by: 90_000 * 1_000_000_000)
      for index in (0..<threads.count).reversed() { work(UInt8(index)) }
    }
    let statistics = engine.statistics
    require(statistics.connections == 0, "a connection is never forgotten")
    require(statistics.memoryInUse <= 3 * 73_728 + 2_048, "memory is leaked")
    let verdicts = statistics.engine.accepted + statistics.engine.dropped + statistics.engine.mangled
    require(verdicts == statistics.engine.packets, "a verdict each")
  }
}
