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
  var environment: Environment
  var buffers = ReceiveBuffers()
  var connections = ConnectionTable()
  var associations = AssociationTable()
  var packetModules = PacketModules()
  private var timers = TimerQueue()
  /// The last that was applied.
  public private(set) var configuration = Configuration.empty
  /// What was counted for each flow, by ``slots``; for each module, by its id.
  var flowCounters: ContiguousArray<FlowCounters> = []
  private var flowSlots: [UInt32: Int] = [:]
  /// The flow that was counted last, and its slot; a slot stays a flow's.
  private var lastCounted: (flow: UInt32?, slot: Int) = (nil, 0)
  /// For the flows of the configuration, in its order.
  private(set) var slots: ContiguousArray<Int> = []
  private(set) var tallies: [UInt32: ModuleTally] = [:]
  /// Connections and associations numbered so far.
  private var connectionCount: UInt64 = 0
  /// Injections in the output of which the origin is noted, and that have been through the modules on their way out.
  var attributed = 0
  var departed = 0
  var refusals = TokenBucket()

  /// How often a connection is looked at when nothing is due.
  private static var inspectionInterval: Nanoseconds { .seconds(60) }

  public init(_ settings: Settings = Settings()) {
    environment = Environment(settings: settings)
  }

  /// What has to be sent beside the verdicts since ``recycle()``.
  public var output: Output {
    unsafeAddress { unsafe environment.outputAddress }
  }

  /// Forgets what stands in ``output``; its pieces must not be used any more.
  public mutating func recycle() {
    environment.output.clear(in: environment.pool)
    attributed = 0
    departed = 0
  }

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
    var passage = Passage(
      slab: buffers.slab(buffer), start: UInt32(range.lowerBound), octets: range.count, metadata: metadata,
      marks: environment.settings.marks)
    let verdict = depart(judge(&passage), passage)
    switch verdict {
    case .accept: environment.counters.accepted += 1
    case .drop: environment.counters.dropped += 1
    case .mangle: environment.counters.mangled += 1
    }
    return verdict
  }

  private mutating func judge(_ passage: inout Passage) -> Verdict {
    var headers: PacketHeaders
    do {
      // Where it is to stay, for a result would be copied out of its case.
      headers = try PacketHeaders(unsafe bytes(of: passage).bindMemory(to: UInt8.self).span)
    } catch {
      environment.counters.malformed += 1
      return .accept(mark: nil)
    }
    if passage.metadata.isSummedLater { passage.expectSum(headers.transport) }
    if !packetModules.isEmpty, !arrive(&passage, &headers) { return .drop }
    return judge(headers, &passage)
  }

  /// Takes a packet that has met the modules of the layer `ip` on its way in.
  mutating func judge(_ headers: PacketHeaders, _ passage: inout Passage) -> Verdict {
    if case .tcp(let tcp) = headers.transport {
      guard isSound(&passage, headers) else {
        environment.counters.badChecksum += 1
        return .accept(mark: nil)
      }
      let payloadStart = passage.start + UInt32(headers.payloadOffset)
      return segmentArrived(
        Arrival(
          ip: headers.ip, tcp: tcp, slab: passage.slab, start: passage.start, payloadStart: payloadStart,
          payloadCount: headers.payloadLength, metadata: passage.metadata),
        headers, &passage)
    }
    if case .fragment = headers.transport { environment.counters.fragments += 1 }
    let key = passage.key ?? FlowKey(headers, passage.metadata)
    let index = configuration.classifier.lookup(key)
    count(index, octets: passage.octets)
    if case .udp(let udp) = headers.transport {
      // Those of modules that are gone may still wait for a thread, and others stand behind them.
      guard configuration.hasStreamModules || !environment.exchanges.isEmpty else { return .accept(mark: nil) }
      return datagramArrived(udp, headers, key, index, &passage)
    }
    let packet = unsafe bytes(of: passage).bindMemory(to: UInt8.self).span
    guard let error = ICMPError(packet, headers), isSound(&passage, headers) else { return .accept(mark: nil) }
    return errorArrived(error, packet, passage)
  }

  /// The octets of the packet at hand.
  func bytes(of passage: Passage) -> UnsafeRawBufferPointer {
    unsafe environment.pool.bytes(passage.slab, passage.start, passage.start + UInt32(passage.octets))
  }

  /// Whether the checksum of the transport is right, or can be relied on without looking.
  func isSound(_ passage: inout Passage, _ headers: PacketHeaders) -> Bool {
    if let isSound = passage.isSound { return isSound }
    let packet = unsafe bytes(of: passage).bindMemory(to: UInt8.self).span
    let isSound = passage.metadata.isChecksumTrusted || Checksum.verifyTransport(packet: packet, headers: headers)
    passage.isSound = isSound
    return isSound
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

  private mutating func segmentArrived(
    _ arrival: Arrival, _ headers: PacketHeaders, _ passage: inout Passage
  ) -> Verdict {
    let source = Endpoint(address: arrival.ip.source, port: arrival.tcp.sourcePort)
    let destination = Endpoint(address: arrival.ip.destination, port: arrival.tcp.destinationPort)
    let isSyn = arrival.isSYN && !arrival.tcp.flags.contains(.ack)
    guard let slot = connections.find(ConnectionKey(source, destination)) else {
      if !isSyn, arrival.metadata.mark & environment.settings.marks.edited != 0 {
        // An earlier daemon edited it, and how its numbers are shifted died with that one: unmapped it would corrupt.
        environment.counters.orphaned += 1
        return .drop
      }
      return admit(arrival, headers, isSyn, &passage)
    }
    if isSyn, connections[slot].isSuperseded(by: arrival) {
      // The ports are used again (RFC 9293 section 3.6.1): it starts afresh.
      close(slot)
      return admit(arrival, headers, isSyn, &passage)
    }
    let direction = connections[slot].direction(from: source)
    let isOpen = connections[slot].phase != .closed
    if isSyn, connections[slot].phase != .synSent, !(isOpen && connections[slot].isRepeated(arrival, direction)) {
      return successorArrived(arrival, slot, passage.key ?? FlowKey(headers, arrival.metadata))
    }
    if !connections[slot].successor.isEmpty, source == connections[slot].successor.value.server,
      arrival.isSYN, arrival.tcp.flags.contains(.ack)
    {
      let isAnswer = connections[slot].successor.value.isAnswer(arrival)
      if isAnswer || connections[slot].successor.value.takesData(arrival),
        var successor = connections[slot].successor.take()
      {
        // Both ends have forgotten the connection, whatever became of its end; or the answer comes late.
        close(slot)
        if isAnswer { successor.restriction = nil }
        let key = successor[.toServer].flowKey
        let fresh = insert(successor)
        if let key { identify(key, fresh, .toServer) }
        return pass(arrival, fresh, &passage)
      }
      if connections[slot].isObserved, !connections[slot].takesData(arrival) { return .drop }
    }
    return pass(arrival, slot, &passage)
  }

  /// Takes the SYN of a connection between the ends of one that lives as far as is known here. One of the ends may have
  /// forgotten that one, or the SYN is forged: only the other end's SYN-ACK tells (RFC 5961 section 4).
  private mutating func successorArrived(_ arrival: Arrival, _ slot: UInt32, _ key: FlowKey) -> Verdict {
    var successor = connections[slot].successor.take() ?? make(arrival, isSeenOpening: true, key)
    let source = Endpoint(address: arrival.ip.source, port: arrival.tcp.sourcePort)
    if successor.client != source || successor[.toServer].receiver.next != arrival.sequence + 1 {
      successor = make(arrival, isSeenOpening: true, key)
    }
    let verdict = successor.synArrived(arrival, &environment)
    // The old one must not be forgotten, and this one with it, before the answer is here.
    connections[slot].lastPacket = environment.now
    successor[.toServer].flowKey = key
    connections[slot].successor.put(successor)
    return verdict
  }

  /// Makes a connection of a first packet, where a flow may want it. Counts the packet where not.
  private mutating func admit(
    _ arrival: Arrival, _ headers: PacketHeaders, _ isSyn: Bool, _ passage: inout Passage
  ) -> Verdict {
    let key = passage.key ?? FlowKey(headers, arrival.metadata)
    let index = configuration.classifier.lookup(key)
    guard index != nil || (isSyn && configuration.classifier.lookupWithoutLink(key.reversed()) != nil) else {
      count(index, octets: passage.octets)
      return .accept(mark: nil)
    }
    guard hasPlace(forHandshake: isSyn) else {
      environment.counters.refused += 1
      count(index, octets: passage.octets)
      return .accept(mark: nil)
    }
    var connection = make(arrival, isSeenOpening: isSyn, key)
    // A SYN-ACK whose SYN did not come by here answers one that took another way.
    if !isSyn { connection.restrict(arrival.isSYN ? .oneSided : .midstream, &environment) }
    return pass(arrival, insert(connection), &passage)
  }

  /// A connection whose first packet `arrival` is, not yet in the table.
  private mutating func make(_ arrival: Arrival, isSeenOpening: Bool, _ key: FlowKey) -> Connection {
    let source = Endpoint(address: arrival.ip.source, port: arrival.tcp.sourcePort)
    let destination = Endpoint(address: arrival.ip.destination, port: arrival.tcp.destinationPort)
    let isAnswer = arrival.isSYN && arrival.tcp.flags.contains(.ack)
    return Connection(
      id: nextNumber(),
      client: isAnswer ? destination : source, server: isAnswer ? source : destination,
      isSeenOpening: isSeenOpening, isPrepared: isSeenOpening && configuration.mayEdit(key), now: environment.now)
  }

  /// The number of the next connection or association, unique over all workers.
  mutating func nextNumber() -> UInt64 {
    connectionCount += 1
    let worker = environment.settings.worker
    return (connectionCount - 1) * UInt64(worker.count) + UInt64(worker.index) + 1
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
    guard let slot = connections.expendable({ $0.phase == .synSent || $0.phase == .offloaded || $0.isObserved })
    else { return false }
    close(slot)
    return true
  }

  /// Takes a segment of a connection in the table.
  private mutating func pass(_ arrival: Arrival, _ slot: UInt32, _ passage: inout Passage) -> Verdict {
    let direction = connections[slot].direction(
      from: Endpoint(address: arrival.ip.source, port: arrival.tcp.sourcePort))
    connections[slot].lastPacket = environment.now
    passage.connection = (connections.place(slot), direction)
    if connections[slot][direction].flowKey == nil {
      identify(passage.key ?? FlowKey(arrival.headers, arrival.metadata), slot, direction)
      if configuration.hasSegmentModules { arrangePacketModules(slot) }
      // The modules of a direction are known when its first packet is.
      if connections[slot].isObserved { assemble(slot) }
    }
    if passage.flowID == nil { passage.flowID = connections[slot][direction].flow }
    if let flow = connections[slot][direction].flow {
      if flow != lastCounted.flow, let place = flowSlots[flow] { lastCounted = (flow, place) }
      count(slot: lastCounted.slot, octets: passage.octets)
    } else {
      environment.counters.unmatched += 1
    }

    guard connections[slot].phase != .offloaded else { return passOn(arrival, slot, direction) }
    guard connections[slot].phase != .cut else {
      finish(slot)
      return .drop
    }
    guard !connections[slot][direction].arrivals.isEmpty else { return passOn(arrival, slot, direction) }
    guard let arrival = arrive(arrival, slot, direction, &passage) else {
      finish(slot)
      return .drop
    }
    return passOn(arrival, slot, direction)
  }

  /// Takes a segment that has met the modules of the layer `tcp` on its way in.
  mutating func passOn(_ arrival: Arrival, _ slot: UInt32, _ direction: Direction) -> Verdict {
    if connections[slot].phase == .offloaded {
      // It was in the queue already, or its mark is not kept.
      environment.counters.offloadedPackets += 1
      return .accept(mark: connections[slot].mark(arrival.metadata.mark, environment.settings.marks))
    }
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
    if connections[slot].mayLeave(), !meetsPacketModules(slot) {
      connections[slot].offload(&environment)
      let mark = verdict.mark ?? arrival.metadata.mark
      verdict = verdict.marked(connections[slot].mark(mark, environment.settings.marks))
    }
    finish(slot)
    // What a module has cut off meanwhile goes no further.
    return connections[slot].phase == .cut ? .drop : verdict
  }

  /// Whether there are modules that work on packets and could meet one of a connection: those need not have been asked yet.
  private func meetsPacketModules(_ slot: UInt32) -> Bool {
    guard !packetModules.isEmpty else { return false }
    return Direction.allCases.contains { direction in
      connections[slot][direction].flowKey.map(configuration.showsPackets) ?? true
    }
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
    case .toServer where arrival.isSYN && !flags.contains(.ack):
      verdict = connections[slot].synArrived(arrival, &environment)
    case .toClient where !connections[slot].isAnswer(arrival):
      // It may answer a SYN that came before the last. What opens then would be read by nobody.
      if flags.isSuperset(of: [.syn, .ack]) { verdict = .drop }
    case .toClient where arrival.isSYN:
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
    connections[slot].successor.put(connections[slot].unanswered())
  }

  /// The flow that a direction of a connection belongs to now.
  private func flow(_ slot: UInt32, _ direction: Direction) -> Flow? {
    connections[slot][direction].flowKey.flatMap(configuration.classifier.lookup).map { configuration.flows[$0] }
  }

  /// Gives a connection the modules of the layer `tcp` of its flows.
  private mutating func arrangePacketModules(_ slot: UInt32) {
    connections[slot].arrangePacketModules(
      toServer: flow(slot, .toServer), toClient: flow(slot, .toClient), tallies: tallies,
      place: connections.place(slot), &environment)
  }

  /// Gives a connection the pipelines of its flows, as soon as it can take them.
  private mutating func assemble(_ slot: UInt32) {
    guard !connections[slot].hasLeft else { return }
    guard connections[slot].isSettled else {
      connections[slot].isSettling = true
      return
    }
    connections[slot].isSettling = false
    connections[slot].reconfigure(
      toServer: flow(slot, .toServer), toClient: flow(slot, .toClient), tallies: tallies,
      place: connections.place(slot), &environment)
    if connections[slot].announcesEditing() {
      let ends = trackedEnds(slot)
      environment.output.editable.append(
        EditableConnection(
          place: connections.place(slot), clientAddress: ends.client.address, clientPort: ends.client.port,
          serverAddress: ends.server.address, serverPort: ends.server.port))
    }
  }

  /// The ends by which connection tracking knows a connection: those that its packets come in with, whatever modules make of
  /// them.
  func trackedEnds(_ slot: UInt32) -> (client: Endpoint, server: Endpoint) {
    guard !packetModules.isEmpty, let ends = connections[slot][.toServer].flowKey?.ends else {
      return (connections[slot].client, connections[slot].server)
    }
    return (ends.source, ends.destination)
  }

  private mutating func close(_ slot: UInt32) {
    environment.counters.connectionsClosed += 1
    connections.remove(slot, in: environment.pool)
  }

  // MARK: Errors

  /// Takes an ICMP error, and lets it pass with the number that the source of the quoted segment knows.
  private mutating func errorArrived(
    _ error: ICMPError, _ packet: Span<UInt8>, _ passage: Passage
  ) -> Verdict {
    let metadata = passage.metadata
    guard let (slot, direction) = find(error.segment) else {
      if environment.settings.worker.count > 1, packet.count <= StrayError.limit {
        environment.output.strayErrors.append(StrayError(packet, metadata))
      }
      return .accept(mark: nil)
    }
    let number = connections[slot].errorArrived(
      error, direction, isMadeHere: metadata.inPort == 0, &environment)
    finish(slot)
    guard number != error.segment.sequence else { return .accept(mark: nil) }
    let start = Int(passage.start)
    beginPacket(error, passage.slab, start..<start + packet.count, sequence: number)
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
    finish(slot)
    guard number != error.segment.sequence else { return }
    let slab = environment.pool.allocateReserved(atLeast: packet.count)
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
    departInjections()
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
      let (place, direction) = injection.origin, connections.isCurrent(place), !connections[place.slot].isObserved
    else {
      injectFragments(of: injection, mtu: mtu)
      return
    }
    connections[place.slot].refused(segment, mtu: mtu, direction, &environment)
    finish(place.slot)
    departInjections()
  }

  /// The connection of which a segment is quoted, where its numbers are followed, and which way the segment went.
  private func find(_ segment: QuotedSegment) -> (slot: UInt32, direction: Direction)? {
    let source = Endpoint(address: segment.ip.source, port: segment.sourcePort)
    let destination = Endpoint(address: segment.ip.destination, port: segment.destinationPort)
    guard let slot = connections.find(ConnectionKey(source, destination)), !connections[slot].isObserved,
      connections[slot].phase != .offloaded
    else { return nil }
    return (slot, connections[slot].direction(from: source))
  }

  // MARK: Time

  /// When ``advance(to:)`` has something to do next.
  public var nextDeadline: Instant? {
    guard let due = associationDeadline else { return timers.next }
    return timers.next.map { min($0, due) } ?? due
  }

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
      finish(place.slot)
    }
    expireAssociations()
    departInjections()
  }

  // MARK: Connections at work

  /// Ends the work on a connection: notes which injections are its own, and sees to it that it is looked at in time.
  mutating func finish(_ slot: UInt32) {
    while attributed < environment.output.injections.count {
      if let direction = direction(of: environment.output.injections[attributed], slot) {
        environment.output.attribute(attributed, to: (connections.place(slot), direction))
      }
      attributed += 1
    }
    let inspection = environment.now + Self.inspectionInterval
    let due = min(connections[slot].deadline(environment.settings), inspection)
    // Time has to pass: what is due at once and stays so would keep everything else from its turn.
    let deadline = max(due, environment.now + .milliseconds(1))
    if let scheduled = connections[slot].scheduled, scheduled <= deadline { return }
    connections[slot].scheduled = deadline
    timers.schedule(connections.place(slot), at: deadline)
  }

  /// Which way an injection goes, nil where it is no segment of a connection's.
  private func direction(of injection: Injection, _ slot: UInt32) -> Direction? {
    let header = unsafe environment.output.pieces[injection.packet.pieces.lowerBound]
    guard !injection.hasMetAll, let segment = unsafe QuotedSegment(header.bindMemory(to: UInt8.self).span) else {
      return nil
    }
    return connections[slot].direction(from: Endpoint(address: segment.ip.source, port: segment.sourcePort))
  }

  // MARK: Control

  /// Says in which directions connection tracking knows the connection by the addresses that its packets have here. In one
  /// that it does not, packets made here must not be tracked; where it knows neither, the connection is never edited.
  /// Called for what stands in ``Output/editable``.
  public mutating func setTracking(_ connection: EditableConnection, knowsToServer: Bool, knowsToClient: Bool) {
    guard connections.isCurrent(connection.place), !connections[connection.place.slot].hasLeft else { return }
    let slot = connection.place.slot
    connections[slot][.toServer].isUntracked = !knowsToServer
    connections[slot][.toClient].isUntracked = !knowsToClient
    // What modules on threads have given other ends is all made here, and kept from it.
    if !knowsToServer, !knowsToClient, !connections[slot].isEdited, !packetModules.editOnThreads {
      connections[slot].restrict(.translated, &environment)
      assemble(slot)
      finish(slot)
      departInjections()
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
    arrangePacketModules()
    for slot in connections.occupied {
      if connections[slot].hasLeft {
        relabel(slot)
        continue
      }
      arrangePacketModules(slot)
      if connections[slot].phase == .synReceived || connections[slot].phase == .established
        || connections[slot].isObserved
      {
        assemble(slot)
      } else {
        relabel(slot)
      }
      finish(slot)
    }
    assembleAssociations()
    departInjections()
  }

  /// Gives the modules of the layer `ip` their places.
  mutating func arrangePacketModules() {
    packetModules.apply(configuration, tallies: tallies, &environment)
    environment.showsInjections = packetModules.hasDepartures || !packetModules.isEmpty
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
    statistics.failures = packetModules.failures
    statistics.connections = connections.count
    let tables = connections.memory + associations.memory
    statistics.memoryInUse = environment.pool.inUse + tables
    statistics.memoryReserved = environment.pool.reserved + tables
    return statistics
  }

  /// Up to `limit` connections, and behind them associations of UDP; those of the flow with the id `flow` where one is given.
  public func connections(ofFlow flow: UInt32? = nil, limit: Int) -> [ConnectionInfo] {
    var list: [ConnectionInfo] = []
    func add(_ info: ConnectionInfo) {
      if flow == nil || info.toServer.flow == flow || info.toClient.flow == flow { list.append(info) }
    }
    for slot in connections.occupied where list.count < limit { add(connections[slot].info(at: environment.now)) }
    for slot in associations.occupied where list.count < limit { add(associations[slot].info(at: environment.now)) }
    return list
  }

  /// The connection or association of that ``ConnectionInfo/id``, or nil where there is none.
  public func connection(_ id: UInt64) -> ConnectionInfo? {
    var info: ConnectionInfo
    if let slot = slot(ofConnection: id) {
      info = connections[slot].info(at: environment.now)
      info.modules = connections[slot].modulePositions { direction in
        packetModules.positions(
          connections[slot][direction].flowKey.map { _ in connections[slot][direction].flow }, direction, configuration)
      }
    } else if let slot = slot(ofAssociation: id) {
      info = associations[slot].info(at: environment.now)
      info.modules = associations[slot].modulePositions { direction in
        packetModules.positions(
          associations[slot][direction].flowKey.map { _ in associations[slot][direction].flow }, direction,
          configuration)
      }
    } else {
      return nil
    }
    return info
  }

  /// Resets a connection at both ends, as far as their numbers are known; from here on nothing of it passes. So with an
  /// association, where each end is told by ICMP when it sends again.
  ///
  /// - Returns: whether there is one of that ``ConnectionInfo/id`` that can be ended here: not one that has been offloaded.
  public mutating func kill(connection id: UInt64, at now: Instant) -> Bool {
    environment.now = now
    if let slot = slot(ofAssociation: id) {
      guard !associations[slot].isOffloaded else { return false }
      associations[slot].cut(.reset, &environment)
      return true
    }
    guard let slot = slot(ofConnection: id), connections[slot].phase != .offloaded else { return false }
    if connections[slot].phase != .cut { connections[slot].cut(.reset, &environment) }
    finish(slot)
    departInjections()
    return true
  }

  private func slot(ofConnection id: UInt64) -> UInt32? { connections.occupied.first { connections[$0].id == id } }

  private func slot(ofAssociation id: UInt64) -> Int? { associations.occupied.first { associations[$0].id == id } }

  /// Octets that modules hold now, all connections together, by ``AttachedModule/id``.
  public var octetsHeld: [UInt32: Int] {
    var held: [UInt32: Int] = [:]
    func add(_ modules: [ConnectionInfo.Module]) {
      for module in modules where module.held > 0 { held[module.id, default: 0] += Int(module.held) }
    }
    for slot in connections.occupied { add(connections[slot].modulePositions { _ in ([], []) }) }
    for slot in associations.occupied { add(associations[slot].modulePositions { _ in ([], []) }) }
    for instance in packetModules.instances {
      add([false, true].map { instance.position(instance.owner, isPeer: $0, isEnded: false) })
    }
    return held
  }
}
