/// What modules on threads of their own are lent, and what comes back.
extension Engine {
  /// Whether something waits for ``collect(at:)``.
  public var hasReturns: Bool { environment.post.map { !$0.isEmpty } ?? false }

  /// Takes over what modules on threads of their own have returned, and sends it on. To be called when
  /// ``ThreadStarter/wakeEngine()`` was.
  public mutating func collect(at now: Instant) {
    guard let post = environment.post else { return }
    environment.now = now
    for exchange in post.takeAll() {
      switch exchange {
      case let stream as StreamExchange: collect(stream)
      case let packets as PacketExchange: collect(packets)
      default: preconditionFailure("there is no other kind")
      }
    }
    departInjections()
  }

  // MARK: Streams

  private mutating func collect(_ exchange: StreamExchange) {
    takeReturns(of: exchange)
    guard connections.isCurrent(exchange.place), !connections[exchange.place.slot].hasLeft else { return }
    connections[exchange.place.slot].modulesReturned(&environment)
    finish(exchange.place.slot)
  }

  /// Takes over what the modules of a connection have returned, so that it leaves with the packet at hand: a packet that is there
  /// may be as large as 64 KiB, one that is made here is a segment.
  mutating func takeReturns(_ slot: UInt32) {
    guard hasReturns else { return }
    for index in connections[slot].instances.indices {
      guard let exchange = connections[slot].instances[index].exchange else { continue }
      takeReturns(of: exchange)
    }
  }

  private mutating func takeReturns(of exchange: StreamExchange) {
    let isCurrent = connections.isCurrent(exchange.place)
    for part in exchange.takeReturns() {
      if !isCurrent || !connections[exchange.place.slot].take(part, from: exchange, &environment) {
        exchange.origin.take(part, &environment)
      }
      guard part.isGone else { continue }
      exchange.unpin(in: environment.pool)
      environment.exchanges[ObjectIdentifier(exchange)] = nil
    }
  }

  // MARK: Packets

  private mutating func collect(_ exchange: PacketExchange) {
    while let lent = exchange.takeBack() {
      goOn(lent, from: exchange)
      // The slab is what goes on, or is kept by whoever needs it.
      environment.pool.release(lent.packet.slab)
    }
    // Asked first: what a thread tells at its end is there before it says that it is gone.
    let isGone = exchange.isGone && exchange.count == 0
    for part in exchange.takeReturns() { take(part, from: exchange) }
    guard isGone else { return }
    environment.exchanges[ObjectIdentifier(exchange)] = nil
    switch exchange.home {
    case .flow: if packetModules.forget(exchange) { arrangePacketModules() }
    case .connection(let place):
      guard connections.isCurrent(place) else { return }
      connections[place.slot].forget(exchange, &environment)
      finish(place.slot)
    case .association(let key, let id):
      guard let slot = associations.find(key), associations[slot].id == id else { return }
      associations[slot].forget(exchange, &environment)
    }
  }

  /// Takes over what a module has counted and told beside its packets.
  private mutating func take(_ report: ModuleReturn, from exchange: PacketExchange) {
    var isTaken = false
    switch exchange.home {
    case .flow: break
    case .connection(let place):
      guard connections.isCurrent(place) else { break }
      isTaken = connections[place.slot].take(report: report, from: exchange, &environment)
      finish(place.slot)
    case .association(let key, let id):
      guard let slot = associations.find(key), associations[slot].id == id else { break }
      isTaken = associations[slot].take(report: report, from: exchange, &environment)
    }
    if !isTaken { exchange.origin.take(report, &environment) }
  }

  /// Has a packet that is back go on behind the module that had it.
  private mutating func goOn(_ lent: LentPacket, from exchange: PacketExchange) {
    if let index = packetModules.index(of: exchange) { packetModules.take(lent, of: index, &environment) }
    var packet = lent.packet
    var passage = lent.passage
    passage.slab = packet.slab
    passage.start = packet.start
    passage.flow = passage.flowID.flatMap(configuration.index)
    switch lent.course {
    case .arrival(let steps, let index):
      guard arrive(&packet, &passage, steps, .behind(index, lent.showing?.fate)) else { return }
      let first = environment.output.injections.count
      let verdict = depart(judge(packet.headers, &passage), passage)
      inject(verdict, passage, at: first)
    case .datagram(let key, let limit, let rest):
      let first = environment.output.injections.count
      let verdict = depart(
        datagramReturned(lent, passage, key, limit: limit, rest, from: exchange), passage)
      inject(verdict, passage, at: first)
    case .segment(let side, let rest, let leaving):
      goOn(&packet, &passage, side, rest, leaving, lent, from: exchange)
    case .departure(let steps, let index, let leaving):
      guard leave(&packet, passage, steps, .behind(index, lent.showing?.fate), leaving) else { return }
      inject(packet, passage, leaving, at: environment.output.injections.count)
    case .answer(let steps, let index, let mark):
      let passing = show(&packet, passage, to: steps, .behind(index, lent.showing?.fate)) {
        .answer(steps, $0, mark: mark)
      }
      if case .through = passing { injectAnswer(packet, mark: mark) }
    }
  }

  /// Has a segment go on that was with a module of its connection. Where that is no more it ends here; its source sends it again.
  private mutating func goOn(
    _ packet: inout PacketInHand, _ passage: inout Passage, _ side: Half.Side, _ rest: [Pipeline.Step],
    _ leaving: LentPacket.Leaving?, _ lent: LentPacket, from exchange: PacketExchange
  ) {
    guard let (place, direction) = passage.connection, connections.isCurrent(place) else { return }
    let first = environment.output.injections.count
    let fate = connections[place.slot].take(lent, from: exchange, &environment)
    defer { finish(place.slot) }
    let passing =
      fate.map { Passing.ended(0, $0) }
      ?? connections[place.slot].see(&packet, passage, direction, side, rest, leaving, &environment)
    switch side {
    case .arrival:
      guard let arrival = arrived(packet, passing, &passage) else { return }
      let verdict = depart(passOn(arrival, place.slot, direction), passage)
      inject(verdict, passage, at: first)
    case .departure:
      let road = packetModules.road(of: passage)
      guard let leaving, hasLeft(packet, passing, passage),
        leave(&packet, passage, road.departures, .start, leaving)
      else { return }
      inject(packet, passage, leaving, at: environment.output.injections.count)
    }
  }
}
