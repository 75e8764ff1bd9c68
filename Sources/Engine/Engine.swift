/// The data plane, without a system call, a clock or a thread.
///
/// A packet goes one way through the rooms of this module:
///
///     Wire       headers are read once into plain values
///     Classify   the flow that the packet belongs to
///     Flow       the connection, found by its ends
///     TCP in     octets in order, once each              (Receiver)
///     Stream     segments of slabs
///     Pipeline   modules look, edit and release
///     TCP out    numbers mapped, packets made            (Sender)
///     Verdict    accept, drop or mangle; and injections
///
/// An engine belongs to one thread. Whoever drives it passes in the time, carries out the verdict and then what stands in
/// ``output``, and calls ``recycle()``.
public struct Engine: ~Copyable {
  private var environment: Environment
  private var buffers = ReceiveBuffers()
  private var connections = ConnectionTable()
  private var timers = TimerQueue()
  private var configuration = Configuration.empty
  /// What was counted for each flow, by ``slots``; for each module, by its id.
  private var flowCounters: ContiguousArray<FlowCounters> = []
  private var flowSlots: [UInt32: Int] = [:]
  /// For the flows of the configuration, in its order.
  private var slots: ContiguousArray<Int> = []
  private var tallies: [UInt32: ModuleTally] = [:]
  /// Connections numbered so far.
  private var connectionCount: UInt64 = 0

  /// How often a connection is looked at when nothing is due.
  private static var inspectionInterval: Nanoseconds { .seconds(60) }

  public init(_ settings: Settings = Settings()) {
    environment = Environment(settings: settings)
  }

  /// What has to be sent beside the verdicts since ``recycle()``.
  public var output: Output {
    _read { yield environment.output }
  }

  /// Forgets what stands in ``output``; its pieces must not be used any more.
  public mutating func recycle() { environment.output.clear(in: environment.pool) }

  /// Buffers to receive up to `count` packets into, 72 KiB each. Valid until the next call; each may be given to
  /// ``receive(_:packet:metadata:at:)`` once.
  public mutating func receiveBuffers(_ count: Int) -> [UnsafeMutableRawBufferPointer] {
    buffers.reserve(count, in: environment.pool)
    for index in 0..<count { buffers.renew(index, in: environment.pool) }
    return unsafe buffers.places
  }

  // MARK: Packets

  /// Takes a packet and says what becomes of it.
  ///
  /// - Parameters:
  ///   - buffer: which of ``receiveBuffers(_:)`` it lies in.
  ///   - range: where in there, from its IP header on.
  public mutating func receive(
    _ buffer: Int, packet range: Range<Int>, metadata: PacketMetadata, at now: Instant
  ) -> Verdict {
    environment.now = now
    environment.counters.packets += 1
    environment.counters.octets += UInt64(range.count)
    let slab = buffers.slab(buffer)
    let bytes = unsafe environment.pool.bytes(slab, UInt32(range.lowerBound), UInt32(range.upperBound))
    let verdict = unsafe judge(slab, bytes, at: range.lowerBound, metadata)
    switch verdict {
    case .accept: environment.counters.accepted += 1
    case .drop: environment.counters.dropped += 1
    case .mangle: environment.counters.mangled += 1
    }
    return verdict
  }

  private mutating func judge(
    _ slab: SlabID, _ bytes: UnsafeRawBufferPointer, at start: Int, _ metadata: PacketMetadata
  ) -> Verdict {
    let packet = unsafe bytes.bindMemory(to: UInt8.self).span
    guard case .packet(let headers) = PacketHeaders.parse(packet) else {
      environment.counters.malformed += 1
      return .accept(mark: nil)
    }
    guard case .tcp(let tcp) = headers.transport else {
      if case .fragment = headers.transport { environment.counters.fragments += 1 }
      count(configuration.classifier.lookup(FlowKey(headers, metadata)), octets: packet.count)
      guard let error = ICMPError(packet, headers),
        metadata.isChecksumTrusted || Checksum.verifyTransport(packet: packet, headers: headers)
      else { return .accept(mark: nil) }
      return errorArrived(error, packet, slab, at: start, metadata)
    }
    guard metadata.isChecksumTrusted || Checksum.verifyTransport(packet: packet, headers: headers) else {
      environment.counters.badChecksum += 1
      return .accept(mark: nil)
    }
    let payloadStart = UInt32(start + headers.payloadOffset)
    return segmentArrived(
      Arrival(
        ip: headers.ip, tcp: tcp, slab: slab, start: UInt32(start), payloadStart: payloadStart,
        payloadCount: headers.payloadLength, metadata: metadata),
      headers, octets: packet.count)
  }

  /// Notes a packet of the flow that stands at `index` of the configuration.
  private mutating func count(_ index: Int?, octets: Int) {
    guard let index else {
      environment.counters.unmatched += 1
      return
    }
    count(slot: slots[index], octets: octets)
  }

  private mutating func count(slot: Int, octets: Int) {
    flowCounters[slot].packets += 1
    flowCounters[slot].octets += UInt64(octets)
  }

  // MARK: Connections

  private mutating func segmentArrived(_ arrival: Arrival, _ headers: PacketHeaders, octets: Int) -> Verdict {
    let source = Endpoint(address: arrival.ip.source, port: arrival.tcp.sourcePort)
    let destination = Endpoint(address: arrival.ip.destination, port: arrival.tcp.destinationPort)
    let isSyn = arrival.tcp.flags.contains(.syn) && !arrival.tcp.flags.contains(.ack)
    guard let slot = connections.find(ConnectionKey(source, destination)) else {
      if !isSyn, arrival.metadata.mark & environment.settings.marks.edited != 0 {
        // An earlier daemon edited it, and how its numbers are shifted died with that one: unmapped it would corrupt.
        environment.counters.orphaned += 1
        return .drop
      }
      return admit(arrival, headers, source, destination, isSyn, octets)
    }
    if isSyn, connections[slot].isSuperseded(by: arrival) {
      // The ports are used again (RFC 9293 section 3.6.1): it starts afresh.
      close(slot)
      return admit(arrival, headers, source, destination, isSyn, octets)
    }
    let direction = connections[slot].direction(from: source)
    let isOpen = connections[slot].phase != .closed
    if isSyn, connections[slot].phase != .synSent, !(isOpen && connections[slot].isRepeated(arrival, direction)) {
      return successorArrived(arrival, slot, FlowKey(headers, arrival.metadata))
    }
    if var successor = connections[slot].successor.first, source == successor.server,
      arrival.tcp.flags.isSuperset(of: [.syn, .ack])
    {
      if successor.isAnswer(arrival) || successor.takesData(arrival) {
        // Both ends have forgotten the connection, whatever became of its end; or the answer comes late.
        close(slot)
        if successor.isAnswer(arrival) { successor.restriction = nil }
        let fresh = insert(successor)
        if let key = successor[.toServer].flowKey { identify(key, fresh, .toServer) }
        return pass(arrival, fresh, octets)
      }
      if connections[slot].isObserved, !connections[slot].takesData(arrival) { return .drop }
    }
    return pass(arrival, slot, octets)
  }

  /// Takes the SYN of a connection between the ends of one that lives as far as is known here. One of the ends may have
  /// forgotten that one, or the SYN is forged: only the other end's SYN-ACK tells (RFC 5961 section 4).
  private mutating func successorArrived(_ arrival: Arrival, _ slot: UInt32, _ key: FlowKey) -> Verdict {
    var successor = connections[slot].successor.popLast() ?? make(arrival, isSeenOpening: true, key)
    let source = Endpoint(address: arrival.ip.source, port: arrival.tcp.sourcePort)
    if successor.client != source || successor[.toServer].receiver.next != arrival.sequence + 1 {
      successor = make(arrival, isSeenOpening: true, key)
    }
    let verdict = successor.synArrived(arrival, &environment)
    successor[.toServer].flowKey = key
    connections[slot].successor = [successor]
    return verdict
  }

  /// Makes a connection of a first packet, where a flow may want it. Counts the packet where not.
  private mutating func admit(
    _ arrival: Arrival, _ headers: PacketHeaders, _ source: Endpoint, _ destination: Endpoint, _ isSyn: Bool,
    _ octets: Int
  ) -> Verdict {
    let key = FlowKey(headers, arrival.metadata)
    let index = configuration.classifier.lookup(key)
    guard index != nil || (isSyn && configuration.classifier.lookupWithoutLink(key.reversed()) != nil) else {
      count(index, octets: octets)
      return .accept(mark: nil)
    }
    guard hasPlace(forHandshake: isSyn) else {
      environment.counters.refused += 1
      count(index, octets: octets)
      return .accept(mark: nil)
    }
    var connection = make(arrival, isSeenOpening: isSyn, key)
    // A SYN-ACK whose SYN did not come by here answers one that took another way.
    if !isSyn { connection.restrict(arrival.tcp.flags.contains(.syn) ? .oneSided : .midstream, &environment) }
    return pass(arrival, insert(connection), octets)
  }

  /// A connection whose first packet `arrival` is, not yet in the table.
  private mutating func make(_ arrival: Arrival, isSeenOpening: Bool, _ key: FlowKey) -> Connection {
    connectionCount += 1
    let worker = environment.settings.worker
    let source = Endpoint(address: arrival.ip.source, port: arrival.tcp.sourcePort)
    let destination = Endpoint(address: arrival.ip.destination, port: arrival.tcp.destinationPort)
    let isAnswer = arrival.tcp.flags.contains([.syn, .ack])
    return Connection(
      id: (connectionCount - 1) * UInt64(worker.count) + UInt64(worker.index) + 1,
      client: isAnswer ? destination : source, server: isAnswer ? source : destination,
      isSeenOpening: isSeenOpening, isPrepared: isSeenOpening && configuration.mayEdit(key), now: environment.now)
  }

  private mutating func insert(_ connection: consuming Connection) -> UInt32 {
    environment.counters.connectionsOpened += 1
    return connections.insert(connection)
  }

  /// Whether a connection may be added. Strangers fill no more than half of the table, and a handshake takes the place of one
  /// of them, or of another that goes no further: a flood of either does not end the editing of others.
  private mutating func hasPlace(forHandshake isHandshake: Bool) -> Bool {
    let limit = environment.settings.connectionLimit
    guard isHandshake else { return connections.count < limit / 2 }
    guard connections.count >= limit else { return true }
    guard let slot = connections.expendable({ $0.phase == .synSent || $0.isObserved }) else { return false }
    close(slot)
    return true
  }

  /// Takes a segment of a connection in the table.
  private mutating func pass(_ arrival: Arrival, _ slot: UInt32, _ octets: Int) -> Verdict {
    let direction = connections[slot].direction(
      from: Endpoint(address: arrival.ip.source, port: arrival.tcp.sourcePort))
    connections[slot].lastPacket = environment.now
    if connections[slot][direction].flowKey == nil {
      let headers = PacketHeaders(
        ip: arrival.ip, transport: .tcp(arrival.tcp), payloadOffset: arrival.headerCount,
        payloadLength: arrival.payloadCount)
      identify(FlowKey(headers, arrival.metadata), slot, direction)
      // The modules of a direction are known when its first packet is.
      if connections[slot].isObserved { assemble(slot) }
    }
    if let flow = connections[slot][direction].flow, let place = flowSlots[flow] {
      count(slot: place, octets: octets)
    } else {
      environment.counters.unmatched += 1
    }

    guard connections[slot].phase != .cut else { return .drop }
    takeReturns(slot)
    var verdict = Verdict.accept(mark: nil)
    if !connections[slot].isObserved,
      connections[slot].phase == .synSent || connections[slot].isOtherAnswer(arrival, direction)
    {
      verdict = handshake(arrival, slot, direction)
    } else if !connections[slot].isObserved {
      verdict = connections[slot].segmentArrived(arrival, direction, &environment)
    }
    // Also what the handshake has just shown to be no more than read.
    if connections[slot].isObserved { connections[slot].observe(arrival, direction, &environment) }
    if connections[slot].isSettling, connections[slot].isSettled { assemble(slot) }
    schedule(slot)
    // What a module has cut off meanwhile goes no further.
    return connections[slot].phase == .cut ? .drop : verdict
  }

  /// Learns from the key of the first packet of a direction which flow it belongs to.
  private mutating func identify(_ key: FlowKey, _ slot: UInt32, _ direction: Direction) {
    connections[slot][direction].flowKey = key
    guard let index = configuration.classifier.lookup(key) else { return }
    let flow = configuration.flows[index].id
    connections[slot][direction].flow = flow
    // A flow that both directions belong to counts the connection once.
    if connections[slot][direction.opposite].flow != flow { flowCounters[slots[index]].connections += 1 }
  }

  private mutating func handshake(_ arrival: Arrival, _ slot: UInt32, _ direction: Direction) -> Verdict {
    let flags = arrival.tcp.flags
    var verdict = Verdict.accept(mark: nil)
    switch direction {
    case .toServer where flags.contains(.syn) && !flags.contains(.ack):
      verdict = connections[slot].synArrived(arrival, &environment)
    case .toClient where !connections[slot].isAnswer(arrival):
      // It may answer a SYN that came before the last. What opens then would be read by nobody.
      if flags.isSuperset(of: [.syn, .ack]) { verdict = .drop }
    case .toClient where flags.contains(.syn) && !flags.contains(.rst):
      verdict = connections[slot].synAcknowledged(arrival, &environment)
      assemble(slot)
    // That a reset has arrived is not known, so the answer may still come.
    case .toClient: break
    case .toServer where arrival.sequence != connections[slot][.toServer].receiver.next: break
    case .toServer:
      // The client has had its answer, and it did not come by here; or it was none of the usual ones.
      let isAnswered = connections[slot][.toClient].flowKey != nil
      connections[slot].restrict(isAnswered ? .midstream : .oneSided, &environment)
    }
    if connections[slot].isObserved {
      if direction == .toServer { awaitAnswer(slot) }
      assemble(slot)
    }
    return verdict
  }

  /// Keeps at hand what a connection was before it was restricted for what came in front of its answer. Should that come by
  /// all the same, nothing of it has been taken by the server, and the connection begins with its answer.
  private mutating func awaitAnswer(_ slot: UInt32) {
    var unanswered = connections[slot]
    unanswered.restriction = nil
    connections[slot].successor = [unanswered]
  }

  /// Gives a connection the pipelines of its flows, as soon as it can take them.
  private mutating func assemble(_ slot: UInt32) {
    let toServer = connections[slot][.toServer].flowKey.flatMap(configuration.classifier.lookup)
    let toClient = connections[slot][.toClient].flowKey.flatMap(configuration.classifier.lookup)
    guard connections[slot].isSettled else {
      connections[slot].isSettling = true
      return
    }
    connections[slot].isSettling = false
    connections[slot].reconfigure(
      toServer: toServer.map { configuration.flows[$0] }, toClient: toClient.map { configuration.flows[$0] },
      tallies: tallies, place: connections.place(slot), &environment)
    if connections[slot].announcesEditing() {
      environment.output.editable.append(
        EditableConnection(
          place: connections.place(slot), clientAddress: connections[slot].client.address,
          clientPort: connections[slot].client.port, serverAddress: connections[slot].server.address,
          serverPort: connections[slot].server.port))
    }
  }

  private mutating func close(_ slot: UInt32) {
    environment.counters.connectionsClosed += 1
    connections.remove(slot, in: environment.pool)
  }

  // MARK: Errors

  /// Takes an ICMP error, and lets it pass with the number that the source of the quoted segment knows.
  private mutating func errorArrived(
    _ error: ICMPError, _ packet: Span<UInt8>, _ slab: SlabID, at start: Int, _ metadata: PacketMetadata
  ) -> Verdict {
    guard let (slot, direction) = find(error.segment) else {
      if environment.settings.worker.count > 1, packet.count <= StrayError.limit {
        environment.output.strayErrors.append(StrayError(packet, metadata))
      }
      return .accept(mark: nil)
    }
    let number = connections[slot].errorArrived(
      error, direction, isMadeHere: metadata.inPort == 0, &environment)
    schedule(slot)
    guard number != error.segment.sequence else { return .accept(mark: nil) }
    beginPacket(error, slab, start..<start + packet.count, sequence: number)
    return .mangle(environment.output.end(in: environment.pool), mark: nil)
  }

  /// Takes an ICMP error that came to another engine, which has let it pass as it is. Where it is about a connection of this
  /// one, its source gets it once more, with the number that it knows.
  public mutating func receive(_ stray: StrayError, at now: Instant) {
    environment.now = now
    let packet = stray.packet.span
    guard case .packet(let headers) = PacketHeaders.parse(packet), let error = ICMPError(packet, headers),
      let (slot, direction) = find(error.segment)
    else { return }
    let number = connections[slot].errorArrived(
      error, direction, isMadeHere: stray.metadata.inPort == 0, &environment)
    schedule(slot)
    guard number != error.segment.sequence, let slab = environment.pool.allocate(atLeast: packet.count) else { return }
    unsafe environment.pool.writable(slab).copyBytes(from: stray.packet)
    beginPacket(error, slab, 0..<packet.count, sequence: number)
    environment.pool.release(slab)
    let marks = environment.settings.marks
    // Connection tracking looks for what the segment is answered by.
    let isUntracked = connections[slot][direction.opposite].isUntracked
    environment.output.inject(
      mark: stray.metadata.mark | marks.injected | (isUntracked ? marks.untracked : 0), isIPv6: headers.ip.isIPv6,
      in: environment.pool)
    environment.counters.injected += 1
  }

  /// Begins a packet with the octets of `error` in `range` of `slab`, quoting `sequence` from now on.
  private mutating func beginPacket(_ error: ICMPError, _ slab: SlabID, _ range: Range<Int>, sequence: UInt32) {
    var bytes = unsafe UnsafeMutableRawBufferPointer(rebasing: environment.pool.writable(slab)[range])
      .bindMemory(to: UInt8.self).mutableSpan
    HeaderPatch.setQuotedSequence(sequence, of: error, in: &bytes)
    environment.output.begin()
    environment.output.add(slab, UInt32(range.lowerBound), UInt32(range.upperBound), in: environment.pool)
  }

  /// Says that an injection in ``output`` did not leave, for it is longer than the `mtu` octets that its interface takes. What
  /// it carried is injected again in smaller pieces.
  public mutating func refuse(_ injection: Injection, mtu: Int, at now: Instant) {
    environment.now = now
    // Its headers lie in one piece.
    let header = unsafe environment.output.pieces[injection.packet.pieces.lowerBound]
    guard let segment = unsafe QuotedSegment(header.bindMemory(to: UInt8.self).span),
      let (slot, direction) = find(segment)
    else { return }
    connections[slot].refused(segment, mtu: mtu, direction, &environment)
    schedule(slot)
  }

  /// The connection of which a segment is quoted, where its numbers are followed, and which way the segment went.
  private func find(_ segment: QuotedSegment) -> (slot: UInt32, direction: Direction)? {
    let source = Endpoint(address: segment.ip.source, port: segment.sourcePort)
    let destination = Endpoint(address: segment.ip.destination, port: segment.destinationPort)
    guard let slot = connections.find(ConnectionKey(source, destination)), !connections[slot].isObserved else {
      return nil
    }
    return (slot, connections[slot].direction(from: source))
  }

  // MARK: Time

  /// When ``advance(to:)`` has something to do next.
  public var nextDeadline: Instant? { timers.next }

  /// Entries in the timer queue, those included that a sooner one has replaced.
  var timerCount: Int { timers.count }

  /// Does what is due by `now`: bytes held for too long are released, connections that have ended are forgotten.
  public mutating func advance(to now: Instant) {
    environment.now = now
    while let (place, deadline) = timers.pop(by: now) {
      guard connections.isCurrent(place), connections[place.slot].scheduled == deadline else { continue }
      connections[place.slot].scheduled = nil
      if connections[place.slot].isExpired(environment.settings, at: now) {
        close(place.slot)
        continue
      }
      connections[place.slot].timersFired(&environment)
      if connections[place.slot].isSettling, connections[place.slot].isSettled { assemble(place.slot) }
      schedule(place.slot)
    }
  }

  // MARK: Threads

  /// Whether something waits for ``collect(at:)``.
  public var hasReturns: Bool { environment.post.map { !$0.isEmpty } ?? false }

  /// Takes over what modules on threads of their own have returned, and sends it on. To be called when
  /// ``ThreadStarter/wakeEngine()`` was.
  public mutating func collect(at now: Instant) {
    guard let post = environment.post else { return }
    environment.now = now
    for exchange in post.takeAll() {
      takeReturns(of: exchange)
      guard connections.isCurrent(exchange.place), connections[exchange.place.slot].phase != .cut else { continue }
      connections[exchange.place.slot].modulesReturned(&environment)
      schedule(exchange.place.slot)
    }
  }

  /// Takes over what the modules of a connection have returned, so that it leaves with the packet at hand: a packet that is there
  /// may be as large as 64 KiB, one that is made here is a segment.
  private mutating func takeReturns(_ slot: UInt32) {
    guard hasReturns else { return }
    for index in connections[slot].instances.indices {
      guard let exchange = connections[slot].instances[index].exchange else { continue }
      takeReturns(of: exchange)
    }
  }

  private mutating func takeReturns(of exchange: ModuleExchange) {
    let isCurrent = connections.isCurrent(exchange.place)
    for part in exchange.takeReturns() {
      if isCurrent { connections[exchange.place.slot].take(part, from: exchange, &environment) }
      guard part.isGone else { continue }
      exchange.unpin(in: environment.pool)
      environment.exchanges[ObjectIdentifier(exchange)] = nil
    }
  }

  /// Sees to it that the connection is looked at in time.
  private mutating func schedule(_ slot: UInt32) {
    let inspection = environment.now + Self.inspectionInterval
    let deadline = min(connections[slot].deadline(environment.settings), inspection)
    if let scheduled = connections[slot].scheduled, scheduled <= deadline { return }
    connections[slot].scheduled = deadline
    timers.schedule(connections.place(slot), at: deadline)
  }

  // MARK: Control

  /// Says in which directions connection tracking knows the connection by the addresses that its packets have here. In one
  /// that it does not, packets made here must not be tracked; where it knows neither, the connection is never edited.
  /// Called for what stands in ``Output/editable``.
  public mutating func setTracking(_ connection: EditableConnection, knowsToServer: Bool, knowsToClient: Bool) {
    guard connections.isCurrent(connection.place) else { return }
    let slot = connection.place.slot
    connections[slot][.toServer].isUntracked = !knowsToServer
    connections[slot][.toClient].isUntracked = !knowsToClient
    if !knowsToServer, !knowsToClient, !connections[slot].isEdited {
      connections[slot].restrict(.translated, &environment)
      assemble(slot)
    }
  }

  /// Swaps in a configuration. Connections that run take it at one byte boundary.
  public mutating func apply(_ configuration: Configuration, at now: Instant) {
    environment.now = now
    self.configuration = configuration
    slots.removeAll(keepingCapacity: true)
    for flow in configuration.flows {
      if flowSlots[flow.id] == nil {
        flowSlots[flow.id] = flowCounters.count
        flowCounters.append(FlowCounters())
      }
      slots.append(flowSlots[flow.id]!)
      for attached in flow.modules where tallies[attached.id] == nil {
        tallies[attached.id] = ModuleTally(ownCount: attached.description.counters.count)
      }
    }
    for slot in connections.occupied {
      if connections[slot].phase == .synReceived || connections[slot].phase == .established
        || connections[slot].isObserved
      {
        assemble(slot)
      } else {
        relabel(slot)
      }
      schedule(slot)
    }
  }

  /// Gives a connection without pipelines the flows it belongs to now.
  private mutating func relabel(_ slot: UInt32) {
    for direction in Direction.allCases {
      let index = connections[slot][direction].flowKey.flatMap(configuration.classifier.lookup)
      connections[slot][direction].flow = index.map { configuration.flows[$0].id }
    }
  }

  /// What has been counted so far, for the flows and modules of the configuration.
  public var statistics: Statistics {
    var statistics = Statistics()
    statistics.engine = environment.counters
    for (index, flow) in configuration.flows.enumerated() {
      statistics.flows[flow.id] = flowCounters[slots[index]]
      for attached in flow.modules {
        guard let tally = tallies[attached.id] else { continue }
        statistics.modules[attached.id] = (tally.common, unsafe Array(tally.own))
      }
    }
    statistics.connections = connections.count
    statistics.memoryInUse = environment.pool.inUse + connections.memory
    statistics.memoryReserved = environment.pool.reserved + connections.memory
    return statistics
  }

  /// Up to `limit` connections, those of the flow with the id `flow` where one is given.
  public func connections(ofFlow flow: UInt32? = nil, limit: Int) -> [ConnectionInfo] {
    var list: [ConnectionInfo] = []
    for slot in connections.occupied where list.count < limit {
      let info = connections[slot].info(at: environment.now)
      if flow == nil || info.toServer.flow == flow || info.toClient.flow == flow { list.append(info) }
    }
    return list
  }
}
