/// A packet in memory of its own, whose octets may be changed where they lie.
struct PacketInHand {
  let slab: SlabID
  /// Where it begins in its slab.
  let start: UInt32
  private(set) var headers: PacketHeaders
  /// Whether its checksums are right, so that they are to be kept so. A module may mend those that are not.
  private(set) var isSound: Bool
  /// Whether a module has changed it.
  private(set) var isChanged = false

  init(slab: SlabID, start: UInt32, headers: PacketHeaders, isSound: Bool) {
    self.slab = slab
    self.start = start
    self.headers = headers
    self.isSound = isSound
  }

  /// The same with its octets in another slab.
  func moved(to slab: SlabID, _ start: UInt32) -> PacketInHand {
    var moved = PacketInHand(slab: slab, start: start, headers: headers, isSound: isSound)
    moved.isChanged = isChanged
    return moved
  }

  /// Behind its last octet, link-layer padding left out.
  var end: UInt32 { start + UInt32(headers.ip.totalLength) }

  /// How many of its octets modules of `layer` are shown.
  func count(at layer: ModuleDescription.Layer) -> Int {
    headers.ip.totalLength - (layer == .ip ? 0 : headers.ip.headerLength)
  }

  /// Its octets.
  func bytes(in pool: SlabPool) -> UnsafeRawBufferPointer { unsafe pool.bytes(slab, start, end) }

  /// Takes note of a change to its octets: reads its headers again and sets its checksums.
  ///
  /// - Returns: what is wrong with the change, nil where nothing is.
  mutating func changed(in pool: SlabPool) -> String? {
    isChanged = true
    let place = unsafe UnsafeMutableRawBufferPointer(rebasing: pool.writable(slab)[Int(start)..<Int(end)])
    guard case .packet(let fresh) = PacketHeaders.parse(unsafe place.bindMemory(to: UInt8.self).span),
      fresh.ip.totalLength == headers.ip.totalLength
    else { return "it leaves a packet whose headers make no sense" }
    headers = fresh
    if isSound {
      var span = unsafe place.bindMemory(to: UInt8.self).mutableSpan
      HeaderPatch.setChecksums(of: headers, in: &span)
    } else {
      let packet = unsafe place.bindMemory(to: UInt8.self).span
      isSound =
        Checksum.verifyHeader(packet: packet, headers: headers)
        && Checksum.verifyTransport(packet: packet, headers: headers)
    }
    return nil
  }

  /// As modules of `layer` find it in their window.
  func description(_ layer: ModuleDescription.Layer, isPeer: Bool) -> PacketDescription {
    let offset = layer == .ip ? 0 : headers.ip.headerLength
    let ports = headers.ports ?? (0, 0)
    return PacketDescription(
      isIPv6: headers.ip.isIPv6, source: headers.ip.source, destination: headers.ip.destination,
      protocolNumber: headers.ip.protocolNumber, isFragment: headers.ip.isFragment,
      transportOffset: headers.ip.headerLength - offset, payloadOffset: headers.payloadOffset - offset,
      sourcePort: ports.source, destinationPort: ports.destination, isSound: isSound, isPeer: isPeer)
  }
}

extension PacketHeaders {
  /// The ports of TCP and UDP.
  var ports: (source: UInt16, destination: UInt16)? {
    switch transport {
    case .tcp(let tcp): (tcp.sourcePort, tcp.destinationPort)
    case .udp(let udp): (udp.sourcePort, udp.destinationPort)
    case .icmp, .fragment, .other: nil
    }
  }
}

/// What has come of showing a packet to a module.
struct Showing: Sendable {
  var edits: UInt64
  var requests: ModuleRequests
  /// What the module wants to become of the packet, nil where it goes on.
  var fate: ModuleRequests.Fate?
}

extension PacketInHand {
  /// Shows itself to a module.
  ///
  /// - Parameters:
  ///   - own: where the module's own counters lie.
  ///   - pool: where the octets lie; on the module's own thread as it is lent.
  mutating func show(
    to module: inout any ProcessingModule, _ description: ModuleDescription, isPeer: Bool,
    identity: ConnectionIdentity, own: UnsafeMutableBufferPointer<UInt64>, in pool: SlabPool, at now: Instant
  ) -> Showing {
    let layer = description.layer
    let first = start + (layer == .ip ? 0 : UInt32(headers.ip.headerLength))
    let ports = headers.ports
    var octets = SegmentQueue()
    octets.append(.kept(slab, first, end, source: InSequence(0)))
    let setting = unsafe Window.Setting(
      identity: identity, mayEdit: description.access == .edit, own: own,
      packet: self.description(layer, isPeer: isPeer))
    var window = Window(octets, pool: pool, setting: setting, now: now, true, false)
    do {
      if isPeer { try module.processPeer(&window) } else { try module.process(&window) }
    } catch {
      window.fail("it threw: \(error)")
    }
    var fate = window.requests.fate
    if window.edits > 0 {
      if let wrong = changed(in: pool) {
        window.fail(wrong)
        fate = .drop
      } else if layer == .tcp, let ports, headers.ports ?? (0, 0) != ports {
        window.fail("it changes the ports of a connection; that is for modules of the layer ip")
        fate = .drop
      }
    }
    var requests = window.requests
    requests.fate = nil
    if layer == .ip { requests.isOffloading = false }
    return Showing(edits: window.edits, requests: requests, fate: fate)
  }
}

extension ModuleInstance {
  /// Shows the module one packet. Returns what it wants to become of that one, nil where it goes on.
  mutating func see(
    _ packet: inout PacketInHand, isPeer: Bool, identity: ConnectionIdentity, _ environment: inout Environment
  ) -> ModuleRequests.Fate? {
    let octets = packet.count(at: description.layer)
    takeNote(ofArrival: octets, isPeer: isPeer)
    let showing = unsafe packet.show(
      to: &module, description, isPeer: isPeer, identity: identity, own: tally.own, in: environment.pool,
      at: environment.now)
    take(showing, octets, isPeer: isPeer, connection: identity.id, &environment)
    return showing.fate
  }

  /// Takes over what has come of lending a packet to its thread, which may have ended before it was shown.
  mutating func take(_ lent: LentPacket, connection: UInt64, _ environment: inout Environment) {
    count(own: lent.own)
    guard let showing = lent.showing else {
      if !hasEndedTheWay { takeNote(ofRelease: lent.octets, isPeer: lent.isPeer) }
      return
    }
    take(showing, lent.octets, isPeer: lent.isPeer, connection: connection, &environment)
  }

  /// Takes over what has come of showing a packet of so many octets.
  private mutating func take(
    _ showing: Showing, _ octets: Int, isPeer: Bool, connection: UInt64, _ environment: inout Environment
  ) {
    tally.common.edits += showing.edits
    take(showing.requests, connection: connection, &environment)
    if showing.fate == nil, !hasEndedTheWay { takeNote(ofRelease: octets, isPeer: isPeer) }
  }
}
