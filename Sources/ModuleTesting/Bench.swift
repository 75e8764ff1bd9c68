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
  private let rig: Rig
  private var toServer = Stream(start: 1_000)
  private var toClient = Stream(start: 5_000)

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
      try Rig.make(kind, arguments), runsAsThread: runsAsThread, cutsOffFailures: cutsOffFailures,
      comesLate: comesLate)
  }

  /// Puts `prototype` to work.
  public init(
    _ prototype: some ProcessingModule, runsAsThread: Bool = false, cutsOffFailures: Bool = false,
    comesLate: Bool = false
  ) {
    rig = Rig(
      prototype, matches: Self.matches, runsAsThread: runsAsThread, cutsOffFailures: cutsOffFailures,
      isAttached: !comesLate)
    carry(nil)
    open()
    guard comesLate else { return }
    toServer.append([0], isEnded: false)
    toClient.append([0], isEnded: false)
    send()
    toServer.forget()
    toClient.forget()
    attach(true)
  }

  private static let matches = ["tcp,tcp_src=80", "udp,udp_src=80"].map { text in
    guard let match = try? Rig.match(text) else { preconditionFailure("the match is right") }
    return match
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
    let (source, destination) = isPeer ? (Segment.client, Segment.server) : (Segment.server, Segment.client)
    let packet = Packet.udp(
      source.address, source.port, to: destination.address, destination.port, payload: Array(bytes))
    let left: [UInt8]?
    switch rig.receive(packet) {
    case .accepted: left = Array(bytes)
    case .dropped: left = nil
    case .mangled(let packet): left = Array(packet.payload)
    }
    // One that has waited for a thread is sent anew.
    let injected = rig.settle().first { $0.protocolNumber == 17 }
    return left ?? injected.map { Array($0.payload) }
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
  public var held: Int { rig.engine.connections(limit: 1).first?.toClient.held ?? 0 }

  // MARK: Time

  /// Lets time go by.
  public func pass(_ time: Nanoseconds) {
    let end = rig.now + time
    acknowledge()
    while let deadline = rig.engine.nextDeadline, deadline <= end {
      rig.advance(to: deadline)
      carry(nil)
      acknowledge()
      send()
    }
    rig.advance(to: end)
    carry(nil)
    acknowledge()
  }

  /// Lets so much time go by that nothing may be held any more.
  public func expire() { pass(rig.prototype.holdTime) }

  // MARK: Control

  /// What `pm set` does.
  ///
  /// - Throws: what is wrong with the arguments.
  public func set(_ arguments: KeyValuePairs<String, String>) throws(ArgumentError) {
    try rig.set(arguments)
    takeOver()
  }

  /// Has the module at work adopt `prototype`, of the same type.
  public func adopt(_ prototype: some ProcessingModule) {
    rig.adopt(prototype)
    takeOver()
  }

  /// What `pm detach` does. Returns whether the module is gone already; one that has something to finish goes later, and a
  /// further call tells.
  public func retire() -> Bool {
    attach(false)
    return state == nil
  }

  private func attach(_ isAttached: Bool) {
    rig.isAttached = isAttached
    rig.configure()
    takeOver()
  }

  /// Carries what has come of a change.
  private func takeOver() {
    carry(nil)
    acknowledge()
  }

  // MARK: What became of it

  /// What the module has counted so far under `name`: one of ``ModuleDescription/counters``, or one of those that every module
  /// has, such as `edits` and `forced_releases`. nil where there is no such counter.
  public func count(_ name: String) -> Int? { rig.count(name) }

  /// Events of the module so far.
  public var events: [ModuleEvent.Content] { rig.events }

  /// How the module is: `working`, `retiring`, `offloaded`, or `failed:` and why; nil where it is gone.
  public var state: String? {
    rig.engine.connections(limit: 1).first?.modules.first { $0.id == Rig.module }?.state
  }

  /// Whether the connection was left to the kernel, for nothing of it was edited: see ``Window/offload()``.
  public var isOffloaded: Bool { rig.engine.connections(limit: 1).first?.state == "offloaded" }

  /// Whether the connection was ended without a word: see ``Window/drop()``.
  public var isDropped: Bool { isCut && !toClient.isReset }
  /// Whether it was ended with a reset: see ``Window/reset()``.
  public var isReset: Bool { isCut && toClient.isReset }
  private var isCut: Bool { rig.engine.statistics.engine.cut > 0 }

  // MARK: The connection

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
    let isClosing = toClient.isFinished && toServer.isFinished
    if isClosing || toClient.arrived.count &+ toServer.arrived.count > acknowledged + 1 << 20 { acknowledge() }
  }

  /// Octets that had arrived when they were acknowledged last. As that makes no difference to modules before the connection closes,
  /// it is not done often.
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
    var metadata = PacketMetadata()
    metadata.isChecksumTrusted = true
    switch rig.receive(segment.packet, metadata) {
    case .accepted: carry(segment)
    case .dropped: carry(nil)
    case .mangled(let packet): carry(Segment(packet))
    }
  }

  /// Takes a segment, and then what the engine has injected, to where they go; and then what comes of a module on a thread.
  private func carry(_ segment: Segment?) {
    if let segment { arrive(segment) }
    for packet in rig.settle() where packet.protocolNumber == 6 { arrive(Segment(packet)) }
  }

  private func arrive(_ segment: Segment) {
    if segment.isToServer { toServer.arrive(segment) } else { toClient.arrive(segment) }
    guard segment.flags.contains(.ack), !segment.flags.contains(.syn) else { return }
    if segment.isToServer { toClient.offer(segment) } else { toServer.offer(segment) }
  }
}
