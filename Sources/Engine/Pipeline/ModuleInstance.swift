/// A module at work on one connection.
struct ModuleInstance {
  /// How far it has come.
  enum State: Equatable {
    case working
    /// `pm detach` has asked it to come to an end.
    case retiring
    /// It has no more interest in the connection.
    case offloaded
    /// It has failed, and for this reason.
    case failed(String)
  }

  let id: UInt32
  /// The direction whose flow it is attached to.
  let owner: Direction
  var revision: Int
  var module: any ProcessingModule
  private(set) var description: ModuleDescription
  let tally: ModuleTally
  var state = State.working
  /// Whether it has been told how it has come to the connection.
  var isGreeted = false
  /// Whether it is to work on a thread of its own.
  let runsOnThread: Bool
  /// Where it works, if on a thread of its own: at streams, or at packets.
  var exchange: StreamExchange?
  var packets: PacketExchange?
  /// Whether its thread has come to an end: from then on it works nowhere.
  var isThreadGone = false
  /// Whether its failure has been told, of one that works on the packets of a flow.
  var isFailureTold = false
  /// Whether it is not wanted any more, and only packets that its thread has are waited for.
  var isEnding = false
  /// Whether the thread has been told to come to an end.
  var isRetireTold = false
  /// Whether it goes on for now all the same.
  var isStaying = false
  /// What becomes of the connection should it fail.
  var onFail = Flow.FailurePolicy.pass
  /// What it has asked to become of the connection.
  private(set) var fate: ModuleRequests.Fate?
  /// What has come to it, where it gets packets or datagrams one by one: of its own direction, and of the peer direction.
  private var traffic = (own: Traffic(), peer: Traffic())

  init(_ attached: AttachedModule, owner: Direction, tally: ModuleTally) {
    id = attached.id
    runsOnThread = attached.run == .thread
    self.owner = owner
    revision = attached.revision
    module = attached.prototype
    description = attached.description
    self.tally = tally
  }

  var thread: ModuleExchange? { exchange ?? packets }

  /// Where what it counts and tells on a thread belongs.
  func origin(_ connection: UInt64) -> ModuleExchange.Origin {
    ModuleExchange.Origin(module: id, connection: connection, tally: tally)
  }

  /// A millisecond at least: with none at all it would be due again at once, for ever.
  var holdTime: Nanoseconds { max(.milliseconds(1), module.holdTime) }

  /// Whether its thread is given what comes; not while it is asked to come to an end, so that what comes is another's.
  var takesMore: Bool { state == .working || isStaying }

  /// Whether it takes no more part: what is left of it is to be taken out of the pipelines.
  var isOver: Bool {
    switch state {
    case .working, .retiring: false
    case .offloaded, .failed: true
    }
  }

  /// Whether packets are shown to it.
  var isAtWork: Bool { !isOver && !isEnding }

  /// Why it has failed, where it has.
  var failure: String? {
    if case .failed(let reason) = state { reason } else { nil }
  }

  /// Whether something is to be done about it.
  var isRestless: Bool { !isWorking || fate != nil }

  var isWorking: Bool {
    if case .working = state { true } else { false }
  }

  var isOffloaded: Bool {
    if case .offloaded = state { true } else { false }
  }

  mutating func fail(_ reason: String) {
    if !isOver { state = .failed(reason) }
  }

  /// Notes that it held `left` octets for longer than it may, or at one time `excess`, which is more than it may.
  mutating func failHolding(_ left: Int, excess: Int?) {
    guard let excess else {
      fail("it held \(left) octets for longer than the \(holdTime / .milliseconds(1)) ms that it may")
      return
    }
    fail("it held \(excess) octets, and may hold \(description.holdLimit)")
  }

  /// Counts the edits that were made on a thread of its own.
  func count(_ part: ModuleReturn) {
    tally.common.edits += part.edits.count
    tally.common.octetsRemoved += part.edits.removed
    tally.common.octetsInserted += part.edits.inserted
    count(own: part.own)
  }

  /// Takes over what the module has counted and told on its thread beside its bytes.
  mutating func take(report: ModuleReturn, connection: UInt64, _ environment: inout Environment) {
    count(own: report.own)
    take(report.requests, connection: connection, &environment)
  }

  /// Counts what its thread has added to its own counters.
  func count(own: [UInt64]) {
    tally.count(own: own)
  }

  /// Takes over what the module has asked for in one window.
  mutating func take(_ requests: ModuleRequests, connection: UInt64, _ environment: inout Environment) {
    for content in requests.events {
      environment.output.add(
        ModuleEvent(time: environment.now, module: id, connection: connection, content: content))
    }
    fate = fate ?? requests.fate
    if requests.isOffloading, state == .working { state = .offloaded }
    if let fault = requests.fault { fail(fault) }
  }

  /// Whether the packet or datagram that it has just seen goes no further.
  var hasEndedTheWay: Bool { fate != nil || (failure != nil && onFail.fate != nil) }

  func traffic(isPeer: Bool) -> Traffic { isPeer ? traffic.peer : traffic.own }

  /// Counts a packet or datagram that has come to it, of so many octets.
  mutating func takeNote(ofArrival octets: Int, isPeer: Bool) {
    tally.common.octetsIn += UInt64(octets)
    if isPeer { traffic.peer.note(arrival: octets) } else { traffic.own.note(arrival: octets) }
  }

  /// Counts one that goes on with so many octets.
  mutating func takeNote(ofRelease octets: Int, isPeer: Bool) {
    tally.common.octetsOut += UInt64(octets)
    if isPeer { traffic.peer.released += UInt64(octets) } else { traffic.own.released += UInt64(octets) }
  }

  /// Puts it to work on a thread of its own, where it is to get its packets there and does not yet.
  ///
  /// - Parameter connection: ``ConnectionInfo/id``; 0 where there is no connection.
  mutating func startThread(
    _ bound: PacketExchange.Bound, home: PacketExchange.Home, connection: UInt64, _ environment: inout Environment
  ) {
    guard runsOnThread, packets == nil, state == .working, !isEnding, let post = environment.post else { return }
    guard !description.needsThread else {
      fail("it reads from a stream, and gets packets")
      return
    }
    let exchange = PacketExchange(
      module, description, bound: bound, home: home, origin: origin(connection), post: post, pool: environment.pool)
    guard post.start(exchange) else {
      fail("there can be no more threads")
      return
    }
    packets = exchange
    environment.exchanges[ObjectIdentifier(exchange)] = exchange
  }

  /// Asks for it in the module's place.
  mutating func ask(_ fate: ModuleRequests.Fate?) { self.fate = self.fate ?? fate }

  /// Hands out what the module has asked to become of a datagram.
  mutating func takeFate() -> ModuleRequests.Fate? {
    defer { fate = nil }
    return fate
  }

  /// Counts a failure and tells of it.
  func report(_ reason: String, connection: UInt64, _ environment: inout Environment) {
    environment.counters.moduleFailures += 1
    tally.common.failures += 1
    environment.output.add(
      ModuleEvent(
        time: environment.now, module: id, connection: connection,
        content: ModuleEvent.Content("failed", ["reason": reason, "policy": onFail.rawValue])))
  }

  /// Takes over the parameters of a newer prototype.
  mutating func adopt(_ attached: AttachedModule) {
    module = module.adopting(attached.prototype)
    thread?.adopt(attached.prototype)
    description = attached.description
    revision = attached.revision
  }

  /// Tells the module of a change of its connection.
  ///
  /// - Parameter identity: the connection, in the direction of ``owner``.
  mutating func tell(_ change: ConnectionChange, _ identity: ConnectionIdentity, _ environment: inout Environment) {
    if let thread {
      thread.tell(change, identity)
    } else if !isThreadGone {
      var report = unsafe Report(identity, own: tally.own, now: environment.now)
      module.connection(change, &report)
      take(report.requests, connection: identity.id, &environment)
    }
  }
}

extension ProcessingModule {
  /// The module with the parameters of `prototype`, where that is of the same kind.
  func adopting(_ prototype: any ProcessingModule) -> any ProcessingModule {
    guard let prototype = prototype as? Self else { return self }
    var adopted = self
    adopted.adopt(prototype)
    return adopted
  }
}

/// What one attached module has counted over all connections of an engine.
@safe final class ModuleTally {
  var common = ModuleCounters()
  /// Whether it has been told that it takes no part in datagrams.
  var isSkippingTold = false
  /// In the order of ``ModuleDescription/counters``.
  let own: UnsafeMutableBufferPointer<UInt64>

  init(ownCount: Int) {
    unsafe own = .allocate(capacity: ownCount)
    unsafe own.initialize(repeating: 0)
  }

  deinit { unsafe own.deallocate() }

  /// Adds what a thread has counted.
  func count(own counts: [UInt64]) {
    for (index, count) in counts.enumerated() { unsafe own[index] &+= count }
  }
}
