import Engine

/// A module on a bench: one TCP connection that runs through it, in the real engine, without a network, a clock or root.
///
///     let bench = try Bench(Shout.self)
///     bench.feed("Hello!", isEnded: true)
///     #expect(bench.output == Array("Hello!!".utf8))
///
/// The module is attached to the direction from the server to the client: what ``feed(_:isEnded:)`` gives comes from the
/// server, and ``output`` is what the client gets. Each call of it is one segment of up to 65,000 octets. Time stands still until
/// ``pass(_:)``.
///
/// A module that is written as ``ProcessingModule/run(_:)`` has a thread of its own; each call waits until that waits for more.
@safe public final class Bench {
  private var engine: Engine
  private let threads = Threads()
  private var now = Instant(nanoseconds: 1_000_000_000)
  private var toServer = Stream(start: 1_000)
  private var toClient = Stream(start: 5_000)
  private var prototype: any ProcessingModule
  private var revision = 0
  private var isAttached = true
  private let onFail: Flow.FailurePolicy
  private let run: AttachedModule.RunMode
  private let description: ModuleDescription
  /// Events of the module so far.
  public private(set) var events: [ModuleEvent.Content] = []
  /// What it has counted, for it is asked for when the module is gone as well.
  private var statistics: (common: ModuleCounters, own: [UInt64])?

  /// Puts a module of `kind` to work, with arguments as a user writes them at `pm attach`.
  ///
  /// - Parameters:
  ///   - runsAsThread: whether it runs as with `--run thread`; one that needs a thread always does.
  ///   - cutsOffFailures: whether a failure of the module cuts its connection off, as `--on-fail drop` does; else the bytes go on
  ///     without it.
  ///   - comesLate: whether the connection runs already when the module comes: an octet has gone each way.
  /// - Throws: what is wrong with the arguments.
  public convenience init<Module: ProcessingModule>(
    _ kind: Module.Type, _ arguments: KeyValuePairs<String, String> = [:], runsAsThread: Bool = false,
    cutsOffFailures: Bool = false, comesLate: Bool = false
  ) throws(ArgumentError) {
    self.init(
      try Self.make(kind, arguments), runsAsThread: runsAsThread, cutsOffFailures: cutsOffFailures,
      comesLate: comesLate)
  }

  /// Puts `prototype` to work.
  public init(
    _ prototype: some ProcessingModule, runsAsThread: Bool = false, cutsOffFailures: Bool = false,
    comesLate: Bool = false
  ) {
    var settings = Settings()
    settings.threads = threads
    engine = Engine(settings)
    self.prototype = prototype
    run = runsAsThread || type(of: prototype).description.needsThread ? .thread : .inline
    description = type(of: prototype).description
    onFail = cutsOffFailures ? .drop : .pass
    isAttached = !comesLate
    configure()
    open()
    guard comesLate else { return }
    toServer.append([0], isEnded: false)
    toClient.append([0], isEnded: false)
    send()
    toServer.forget()
    toClient.forget()
    isAttached = true
    configure()
  }

  deinit { threads.end() }

  private static func make<Module: ProcessingModule>(
    _ kind: Module.Type, _ arguments: KeyValuePairs<String, String>
  ) throws(ArgumentError) -> Module {
    try kind.init(Arguments(arguments.map { (key: $0.key, value: $0.value) }, for: kind.description.parameters))
  }

  // MARK: Bytes

  /// Gives `bytes` to the module, and the end of the stream behind them where `isEnded` is set.
  public func feed(_ bytes: some Collection<UInt8>, isEnded: Bool = false) {
    toClient.append(bytes, isEnded: isEnded)
    send()
  }

  public func feed(_ text: String, isEnded: Bool = false) { feed(text.utf8, isEnded: isEnded) }

  /// Gives `bytes` to the peer direction: those of the client.
  public func feedPeer(_ bytes: some Collection<UInt8>, isEnded: Bool = false) {
    toServer.append(bytes, isEnded: isEnded)
    send()
  }

  public func feedPeer(_ text: String, isEnded: Bool = false) { feedPeer(text.utf8, isEnded: isEnded) }

  /// Gives `bytes` cut at random, and the end of the stream with or behind the last of them.
  ///
  /// - Returns: how many octets there were in each piece.
  @discardableResult
  public func feed(
    _ bytes: some Collection<UInt8>, cutBy random: inout SplitMix, isEnded: Bool = true
  ) -> [Int] {
    var pieces: [Int] = []
    var left = Array(bytes)[...]
    // Octet by octet, in segments, or in one go: all of them at once are never seen with pieces of one size.
    let most = [1, 2, 7, 40, 300, left.count].randomElement(using: &random) ?? 1
    while !left.isEmpty {
      let count = min(left.count, Int.random(in: 1...max(most, 1), using: &random))
      feed(left.prefix(count), isEnded: isEnded && count == left.count && Bool.random(using: &random))
      left.removeFirst(count)
      pieces.append(count)
    }
    if isEnded { feed([], isEnded: true) }
    return pieces
  }

  /// Gives a datagram of UDP to the module, and returns what leaves in its place; nil where it is dropped.
  ///
  /// - Parameter isPeer: whether it comes from the client, in the peer direction.
  public func datagram(_ bytes: some Collection<UInt8>, isPeer: Bool = false) -> [UInt8]? {
    let packet = Datagram(isToServer: isPeer, payload: Array(bytes)).packet
    let verdict = receive(packet)
    var left: [UInt8]?
    switch verdict {
    case .accept: left = Array(bytes)
    case .drop: left = nil
    case .mangle(let packet, _): left = Datagram(packet: gather(packet)).payload
    }
    carry(nil)
    return left
  }

  /// What has come out so far.
  public var output: [UInt8] { toClient.arrived }
  /// What has come out in the peer direction.
  public var peerOutput: [UInt8] { toServer.arrived }
  /// Whether the end of the stream has come out.
  public var isFinished: Bool { toClient.isFinished }
  /// Octets of ``feed(_:isEnded:)`` that the server keeps, for its window is closed.
  public var waiting: Int { toClient.waiting.count }
  /// Octets that the module holds in its direction.
  public var held: Int { engine.connections(limit: 1).first?.toClient.held ?? 0 }

  // MARK: Time

  /// Lets time go by.
  public func pass(_ time: Nanoseconds) {
    let end = now + time
    acknowledge()
    while let deadline = engine.nextDeadline, deadline <= end {
      now = max(now, deadline)
      threads.setTime(now)
      engine.advance(to: now)
      carry(nil)
      acknowledge()
      send()
    }
    now = end
    threads.setTime(now)
    carry(nil)
    acknowledge()
  }

  /// Lets so much time go by that nothing may be held any more.
  public func expire() { pass(prototype.holdTime) }

  // MARK: Control

  /// What `pm set` does.
  ///
  /// - Throws: what is wrong with the arguments.
  public func set(_ arguments: KeyValuePairs<String, String>) throws(ArgumentError) {
    func another<Module: ProcessingModule>(_ current: Module) throws(ArgumentError) -> any ProcessingModule {
      try Self.make(Module.self, arguments)
    }
    adopt(try another(prototype))
  }

  /// Has the module at work adopt `prototype`, of the same type.
  public func adopt(_ prototype: some ProcessingModule) {
    self.prototype = prototype
    revision += 1
    configure()
  }

  /// What `pm detach` does. Returns whether the module is gone already; one that has something to finish goes later, and a
  /// further call tells.
  public func retire() -> Bool {
    isAttached = false
    configure()
    return state == nil
  }

  // MARK: What became of it

  /// What the module has counted so far under `name`: one of ``ModuleDescription/counters``, or one of those that every module
  /// has, such as `edits` and `forced_releases`. nil where there is no such counter.
  public func count(_ name: String) -> Int? {
    let counted = engine.statistics.modules[Self.id] ?? statistics
    guard let counted else { return nil }
    if let index = description.counters.firstIndex(of: name) { return Int(counted.own[index]) }
    return counted.common.named.first { $0.name == name }.map { Int($0.value) }
  }

  /// How the module is: `working`, `retiring`, `offloaded`, or `failed:` and why; nil where it is gone.
  public var state: String? {
    engine.connections(limit: 1).first?.modules.first { $0.id == Self.id }?.state
  }

  /// Whether the connection was left to the kernel, for nothing of it was edited: see ``Window/offload()``.
  public var isOffloaded: Bool { engine.connections(limit: 1).first?.state == "offloaded" }

  /// Whether the connection was ended without a word: see ``Window/drop()``.
  public var isDropped: Bool { isCut && !toClient.isReset }
  /// Whether it was ended with a reset: see ``Window/reset()``.
  public var isReset: Bool { isCut && toClient.isReset }
  private var isCut: Bool { engine.statistics.engine.cut > 0 }

  // MARK: The connection

  private static var id: UInt32 { 1 }

  private func configure() {
    statistics = engine.statistics.modules[Self.id] ?? statistics
    let attached = AttachedModule(id: Self.id, name: "module", revision: revision, run: run, prototype: prototype)
    let flows = ["tcp,tcp_src=80", "udp,udp_src=80"].enumerated().map { index, match in
      Flow(
        id: UInt32(index), name: match, match: Self.match(match), priority: 0, onFail: onFail,
        stages: isAttached ? [[attached]] : [])
    }
    engine.apply(Configuration(flows: flows), at: now)
    carry(nil)
    acknowledge()
  }

  private static func match(_ text: String) -> Match {
    guard let match = try? Match(parsing: text, portNamed: { _ in nil }) else {
      preconditionFailure("the match is right")
    }
    return match
  }

  /// The handshake, and a first word of either on its window.
  private func open() {
    let (client, server) = (toServer.next, toClient.next)
    cross(Segment(isToServer: true, sequence: client &- 1, flags: .syn))
    cross(Segment(isToServer: false, sequence: server &- 1, acknowledgement: client, flags: [.syn, .ack]))
    cross(Segment(isToServer: true, sequence: client, acknowledgement: server, flags: .ack))
    cross(Segment(isToServer: false, sequence: server, acknowledgement: client, flags: .ack))
  }

  /// Sends what the sources may.
  private func send() {
    while let (octets, isLast) = toServer.take() { cross(segment(true, octets, isLast)) }
    while let (octets, isLast) = toClient.take() { cross(segment(false, octets, isLast)) }
    if toClient.arrived.count &+ toServer.arrived.count > acknowledged + 1 << 20 { acknowledge() }
  }

  /// Octets that had arrived when they were acknowledged last. As that makes no difference to modules, it is not done often.
  private var acknowledged = 0

  private func segment(_ isToServer: Bool, _ octets: ArraySlice<UInt8>, _ isLast: Bool) -> Segment {
    let (stream, peer) = isToServer ? (toServer, toClient) : (toClient, toServer)
    let count = UInt32(octets.count) &+ (isLast ? 1 : 0)
    return Segment(
      isToServer: isToServer, sequence: stream.next &- count, acknowledgement: peer.expected,
      flags: isLast ? [.ack, .fin] : .ack, payload: octets)
  }

  private func acknowledge() {
    acknowledged = toClient.arrived.count &+ toServer.arrived.count
    for isToServer in [false, true] where isToServer ? toClient.isUnacknowledged : toServer.isUnacknowledged {
      if isToServer { toClient.isUnacknowledged = false } else { toServer.isUnacknowledged = false }
      cross(segment(isToServer, [], false))
    }
  }

  /// Sends a segment across the engine.
  private func cross(_ segment: Segment) {
    switch receive(segment.packet) {
    case .accept: carry(segment)
    case .drop: carry(nil)
    case .mangle(let packet, _): carry(Segment(packet: gather(packet)))
    }
  }

  private func receive(_ packet: [UInt8]) -> Verdict {
    let buffer = unsafe engine.receiveBuffers(1)[0]
    unsafe buffer.copyBytes(from: packet)
    var metadata = PacketMetadata()
    metadata.isChecksumTrusted = true
    return engine.receive(0, packet: 0..<packet.count, metadata: metadata, at: now)
  }

  /// Takes a segment, and then what the engine has injected, to where they go; and then what comes of a module on a thread.
  private func carry(_ segment: Segment?) {
    if let segment { arrive(segment) }
    takeOutput()
    guard run == .thread else { return }
    threads.settle()
    while engine.hasReturns {
      engine.collect(at: now)
      takeOutput()
      threads.settle()
    }
  }

  /// Takes what the engine has injected to where it goes, and notes what the module has told.
  private func takeOutput() {
    for index in engine.output.injections.indices {
      arrive(Segment(packet: gather(engine.output.injections[index].packet)))
    }
    events += engine.output.events.map(\.content)
    engine.recycle()
  }

  private func arrive(_ segment: Segment) {
    if segment.isToServer { toServer.arrive(segment) } else { toClient.arrive(segment) }
    guard segment.flags.contains(.ack), !segment.flags.contains(.syn) else { return }
    if segment.isToServer { toClient.offer(segment) } else { toServer.offer(segment) }
  }

  private func gather(_ packet: OutgoingPacket) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(packet.length)
    for index in packet.pieces { unsafe bytes.append(contentsOf: engine.output.pieces[index]) }
    return bytes
  }
}
