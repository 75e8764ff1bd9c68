/// Packets of which the kernel hands over no more than the beginning.
extension Engine {
  /// Takes a packet that is longer than what fits into a message of the queue, 65,531 octets (`NFQNL_MAX_COPY_RANGE` of the kernel), and
  /// says what becomes of it: GRO puts such together now and then, and BIG TCP makes nothing else.
  ///
  /// What no flow matches passes. All else is dropped, for modules would not see its end, and how its numbers are shifted could not be
  /// told it. Its source sends it again, in other pieces.
  ///
  /// - Parameters:
  ///   - buffer: which of ``receiveBuffers(_:)`` it lies in.
  ///   - range: where in there what is here of it, from its IP header on.
  public mutating func receive(
    _ buffer: Int, beginning range: Range<Int>, metadata: PacketMetadata, at now: Instant
  ) -> Verdict {
    environment.now = now
    environment.counters.packets += 1
    environment.counters.octets += UInt64(range.count)
    guard isWanted(buffer, range, metadata) else {
      environment.counters.accepted += 1
      return .accept(mark: nil)
    }
    environment.counters.dropped += 1
    return .drop
  }

  private mutating func isWanted(_ buffer: Int, _ range: Range<Int>, _ metadata: PacketMetadata) -> Bool {
    if metadata.mark & environment.settings.marks.edited != 0 { return true }
    let place = unsafe UnsafeMutableRawBufferPointer(
      rebasing: environment.pool.writable(buffers.slab(buffer))[range])
    var span = unsafe place.bindMemory(to: UInt8.self).mutableSpan
    // As long as the longest header of IPv4.
    guard span.count >= 60 else { return false }
    // Its own length may be 0, where it is more than the field can hold. Nobody else reads these octets.
    HeaderPatch.setTotalLength(min(span.count, Int(UInt16.max)), in: &span)
    guard case .packet(let headers) = PacketHeaders.parse(span.span) else { return false }
    let key = FlowKey(headers, metadata)
    if case .tcp(let tcp) = headers.transport {
      let ends = ConnectionKey(
        Endpoint(address: headers.ip.source, port: tcp.sourcePort),
        Endpoint(address: headers.ip.destination, port: tcp.destinationPort))
      if let slot = connections.find(ends) { return connections[slot].phase != .offloaded }
    }
    return configuration.classifier.lookup(key) != nil
  }
}
