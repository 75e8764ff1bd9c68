import DequeModule

extension Environment {
  /// Lends a packet to the thread of a module, and says whether there was room for it; where not, it ends here, and is counted.
  mutating func lend(
    _ packet: PacketInHand, _ passage: Passage, to exchange: PacketExchange, isPeer: Bool,
    identity: ConnectionIdentity, _ course: LentPacket.Course
  ) -> Bool {
    guard exchange.hasRoom(for: 0), let own = detached(packet) else {
      counters.threadOverflows += 1
      return false
    }
    let lent = LentPacket(
      own, isPeer: isPeer, identity: identity, course: course, passage: passage,
      octets: own.count(at: exchange.description.layer), cost: pool.cost(of: own.slab))
    guard !exchange.lend(lent) else { return true }
    counters.threadOverflows += 1
    pool.release(own.slab)
    return false
  }

  /// The packet in a slab that nobody else looks into, with one reference; nil where memory is exhausted. One that is small moves to
  /// a slab of its size, so that a datagram of DNS does not hold 72 KiB.
  private func detached(_ packet: PacketInHand) -> PacketInHand? {
    let octets = unsafe packet.bytes(in: pool)
    // A buffer that packets are received into has a reference of its own, and is given up for this one.
    if octets.count > SlabPool.small {
      guard pool.inUse <= pool.limit else { return nil }
      pool.retain(packet.slab)
      return packet
    }
    return unsafe pool.copy(whole: octets).map { packet.moved(to: $0, 0) }
  }

  /// As above, a datagram of UDP, with the payload that it has now.
  mutating func lend(
    _ datagram: inout SegmentQueue, of packet: PacketInHand, _ passage: Passage, to wait: Pipeline.Wait,
    identity: ConnectionIdentity, _ course: LentPacket.Course
  ) -> Bool {
    guard wait.exchange.hasRoom(for: 0), let own = detached(packet) else {
      counters.threadOverflows += 1
      return false
    }
    let first = packet.start + UInt32(packet.headers.payloadOffset)
    var payload = SegmentQueue()
    var cost = pool.cost(of: own.slab)
    if datagram.isWhole(packet.slab, first..<first + UInt32(packet.headers.payloadLength)) {
      let start = own.start + UInt32(own.headers.payloadOffset)
      pool.retain(own.slab)
      payload.append(.kept(own.slab, start, start + UInt32(own.headers.payloadLength), source: InSequence(0)))
      datagram.removeAll(in: pool)
    } else {
      datagram.move(all: &payload)
      for segment in payload.segments where segment.slab != .none { cost += pool.cost(of: segment.slab) }
    }
    let lent = LentPacket(
      own, isPeer: wait.isPeer, identity: identity, course: course, passage: passage, octets: payload.count, cost: cost)
    lent.datagram = payload
    guard !wait.exchange.lend(lent) else { return true }
    counters.threadOverflows += 1
    lent.datagram.removeAll(in: pool)
    pool.release(own.slab)
    return false
  }
}
