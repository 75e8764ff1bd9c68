/// Packets that have waited for a module on a thread: their verdict was to drop them, and what it would have been is injected.
extension Engine {
  /// Sends what a verdict would have let go on, in front of the injections from `first` on, which were made beside it.
  mutating func inject(_ verdict: Verdict, _ passage: Passage, at first: Int) {
    let mark = verdict.mark ?? passage.metadata.mark
    var leaving = LentPacket.Leaving(passage, mark: mark)
    switch verdict {
    case .drop: return
    case .accept:
      guard case .packet(let headers) = PacketHeaders.parse(unsafe bytes(of: passage).bindMemory(to: UInt8.self).span)
      else { return }
      inject(
        PacketInHand(slab: passage.slab, start: passage.start, headers: headers, isSound: true), passage, leaving,
        at: first)
    case .mangle(let packet, _):
      leaving.isUnfinished = false
      // Its octets are still a part of the output.
      let slab = environment.output.copy(packet, in: environment.pool)
      defer { environment.pool.release(slab) }
      let octets = unsafe environment.pool.bytes(slab, 0, UInt32(packet.length))
      guard case .packet(let headers) = PacketHeaders.parse(unsafe octets.bindMemory(to: UInt8.self).span) else {
        return
      }
      inject(PacketInHand(slab: slab, start: 0, headers: headers, isSound: true), passage, leaving, at: first)
    }
  }

  /// Sends a packet that has met all modules, in front of the injections from `first` on.
  mutating func inject(_ packet: PacketInHand, _ passage: Passage, _ leaving: LentPacket.Leaving, at first: Int) {
    let last = environment.output.injections.count
    let marks = environment.settings.marks
    let isUntracked = !isKnown(packet, passage)
    let mark = leaving.mark | marks.injected | (isUntracked ? marks.untracked : 0)
    let size = segmentSize(packet, leaving)
    if leaving.isGSO, case .tcp(let tcp) = packet.headers.transport, packet.headers.payloadLength > size {
      if !isUntracked, isCutByKernel(passage, tcp, leaving) {
        injectWhole(packet, tcp, size, mark, leaving)
      } else {
        injectCut(packet, tcp, size, mark)
      }
    } else {
      if leaving.isUnfinished, !packet.isChanged { setChecksums(packet) }
      environment.output.begin()
      environment.output.add(packet.slab, packet.start, packet.end, in: environment.pool)
      environment.output.inject(mark: mark, isIPv6: packet.headers.ip.isIPv6, hasMetAll: true, in: environment.pool)
    }
    let count = environment.output.injections.count - last
    environment.counters.injected += UInt64(count)
    if let origin = leaving.connection, connections.isCurrent(origin.place) {
      for index in last..<last + count { environment.output.attribute(index, to: origin) }
    }
    environment.output.advanceInjections(from: last, to: first)
    if attributed >= first { attributed += count }
    if departed >= first { departed += count }
  }

  private func setChecksums(_ packet: PacketInHand) {
    let octets = unsafe environment.pool.writable(packet.slab)
    var span = unsafe UnsafeMutableRawBufferPointer(rebasing: octets[Int(packet.start)..<Int(packet.end)])
      .bindMemory(to: UInt8.self).mutableSpan
    HeaderPatch.setChecksums(of: packet.headers, in: &span)
  }

  /// Whether connection tracking knows the packet by the ends that it has now: those that it came in with, where it has not changed
  /// them itself.
  private func isKnown(_ packet: PacketInHand, _ passage: Passage) -> Bool {
    if passage.isTranslated { return false }
    let ends = FlowKey(packet.headers, passage.metadata).ends
    if let key = passage.key { return key.ends == ends }
    guard let (place, direction) = passage.connection, connections.isCurrent(place) else { return true }
    let (client, server) = trackedEnds(place.slot)
    return ends == (direction == .toServer ? (client, server) : (server, client))
  }

  /// Octets of payload of the segments that a super-packet of TCP is cut into: what its destination takes, as far as that is known,
  /// else what all do (RFC 9293 section 3.7.1).
  private func segmentSize(_ packet: PacketInHand, _ leaving: LentPacket.Leaving) -> Int {
    if let (place, direction) = leaving.connection, connections.isCurrent(place), !connections[place.slot].isObserved {
      return connections[place.slot][direction].sender.maximumSegment
    }
    guard case .tcp(let tcp) = packet.headers.transport else { return 0 }
    return (packet.headers.ip.isIPv6 ? 1_220 : 536) - (tcp.headerLength - 20)
  }

  /// Whether the kernel may cut a super-packet once more, as one that is made here: where the connection is followed, so that it shows
  /// whether those arrive, and not in the name of this machine itself, which may also be that of what is translated.
  private func isCutByKernel(_ passage: Passage, _ tcp: TCPHeader, _ leaving: LentPacket.Leaving) -> Bool {
    let versions = environment.settings.superPackets
    guard let (place, direction) = leaving.connection, connections.isCurrent(place),
      !connections[place.slot].isObserved, !connections[place.slot].hasLeft
    else { return false }
    return (connections[place.slot].client.address.isIPv4 ? versions.ipv4 : versions.ipv6)
      && passage.metadata.inPort != 0 && !tcp.flags.contains(.urg)
      && !connections[place.slot][direction].superPackets.areLost
  }

  /// Sends a super-packet of TCP for the kernel to cut, see ``Injection/segmentation``.
  private mutating func injectWhole(
    _ packet: PacketInHand, _ tcp: TCPHeader, _ size: Int, _ mark: UInt32, _ leaving: LentPacket.Leaving
  ) {
    let ip = packet.headers.ip
    let octets = unsafe environment.pool.writable(packet.slab)
    var span = unsafe UnsafeMutableRawBufferPointer(rebasing: octets[Int(packet.start)..<Int(packet.end)])
      .bindMemory(to: UInt8.self).mutableSpan
    HeaderPatch.raiseHopLimit(in: &span)
    let pseudo = Checksum.pseudoHeader(
      source: ip.source, destination: ip.destination, protocolNumber: ip.protocolNumber,
      length: ip.totalLength - ip.headerLength, isIPv6: ip.isIPv6)
    HeaderPatch.setTCPChecksum(~Checksum.fold(pseudo), in: &span, tcp: ip.headerLength)
    environment.output.begin()
    environment.output.add(packet.slab, packet.start, packet.end, in: environment.pool)
    environment.output.inject(
      mark: mark, isIPv6: ip.isIPv6,
      segmentation: Segmentation(
        size: size, transportOffset: ip.headerLength, payloadOffset: packet.headers.payloadOffset),
      hasMetAll: true, in: environment.pool)
    environment.counters.superPackets += 1
    guard let (place, direction) = leaving.connection else { return }
    let first = OutSequence(tcp.sequence)
    let acknowledged = connections[place.slot][direction].sender.unacknowledged
    connections[place.slot][direction].superPackets.leave(
      first, first + packet.headers.payloadLength, acknowledged: acknowledged)
  }

  /// Sends a super-packet of TCP as the segments that it is of.
  private mutating func injectCut(_ packet: PacketInHand, _ tcp: TCPHeader, _ size: Int, _ mark: UInt32) {
    let pool = environment.pool
    let ip = packet.headers.ip
    let count = packet.headers.payloadOffset
    let header = unsafe pool.bytes(packet.slab, packet.start, packet.start + UInt32(count))
    var offset = 0
    while offset < packet.headers.payloadLength {
      let length = min(size, packet.headers.payloadLength - offset)
      let slab = pool.allocateReserved(atLeast: count)
      let place = unsafe UnsafeMutableRawBufferPointer(rebasing: pool.writable(slab)[..<count])
      unsafe place.copyMemory(from: header)
      let first = packet.start + UInt32(count + offset)
      environment.output.begin()
      environment.output.add(slab, 0, UInt32(count), in: pool)
      pool.release(slab)
      environment.output.add(packet.slab, first, first + UInt32(length), in: pool)
      var flags = tcp.flags
      if offset > 0 { flags.remove(.cwr) }
      if offset + length < packet.headers.payloadLength { flags.subtract([.fin, .psh]) }
      var span = unsafe place.bindMemory(to: UInt8.self).mutableSpan
      if !ip.isIPv6 { HeaderPatch.setIdentification(ip.identification &+ UInt16(offset / size), in: &span) }
      HeaderPatch.setTotalLength(count + length, in: &span)
      HeaderPatch.setTCPSequence(tcp.sequence &+ UInt32(offset), in: &span, tcp: ip.headerLength)
      HeaderPatch.setTCPFlags(flags, in: &span, tcp: ip.headerLength)
      HeaderPatch.setTCPChecksum(0, in: &span, tcp: ip.headerLength)
      let pseudo = Checksum.pseudoHeader(
        source: ip.source, destination: ip.destination, protocolNumber: ip.protocolNumber,
        length: count - ip.headerLength + length, isIPv6: ip.isIPv6)
      let sum = environment.output.payloadSum(
        initial: Checksum.sum(span.span.extracting(ip.headerLength...), initial: pseudo))
      HeaderPatch.setTCPChecksum(Checksum.fold(sum), in: &span, tcp: ip.headerLength)
      environment.output.inject(mark: mark, isIPv6: ip.isIPv6, hasMetAll: true, in: pool)
      offset += length
    }
  }

  // MARK: Fragments

  /// Sends a packet again that was longer than its interface takes, in fragments, as the kernel does with what it forwards (RFC 791
  /// section 3.2, RFC 8200 section 4.5). One that must not be cut is lost, as is one of IPv6 with headers that every router reads.
  mutating func injectFragments(of injection: Injection, mtu: Int) {
    let pool = environment.pool
    let slab = environment.output.copy(injection.packet, in: pool)
    defer { pool.release(slab) }
    let octets = unsafe pool.bytes(slab, 0, UInt32(injection.packet.length))
    guard case .packet(let headers) = PacketHeaders.parse(unsafe octets.bindMemory(to: UInt8.self).span) else { return }
    let cut = FragmentCut(of: headers, unsafe octets.bindMemory(to: UInt8.self).span, mtu: mtu)
    guard let cut else { return }
    let number = environment.nextIdentification()
    for offset in stride(from: 0, to: cut.payloadCount, by: cut.size) {
      let count = min(cut.size, cut.payloadCount - offset)
      let header = pool.allocateReserved(atLeast: cut.headerCount)
      let place = unsafe UnsafeMutableRawBufferPointer(rebasing: pool.writable(header)[..<cut.headerCount])
      unsafe place.copyMemory(from: UnsafeRawBufferPointer(rebasing: octets[..<cut.start]))
      var span = unsafe place.bindMemory(to: UInt8.self).mutableSpan
      cut.write(into: &span, offset: offset, count: count, number: number)
      environment.output.begin()
      environment.output.add(header, 0, UInt32(cut.headerCount), in: pool)
      pool.release(header)
      let first = UInt32(cut.start + offset)
      environment.output.add(slab, first, first + UInt32(count), in: pool)
      environment.output.inject(mark: injection.mark, isIPv6: injection.isIPv6, hasMetAll: true, in: pool)
      environment.counters.injected += 1
    }
  }
}
