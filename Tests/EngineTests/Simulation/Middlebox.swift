import Testing

@testable import Engine

/// An engine driven by hand: packets in as bytes, packets out as bytes, everything checked that must always hold.
struct Middlebox: ~Copyable {
  var engine: Engine
  /// Packets given and verdicts got: one each.
  private(set) var arrived = 0
  private var nextModule: UInt32 = 1
  private var announced: [EditableConnection] = []
  /// The interface that packets come in by, where a test does not say; 0 is this machine itself.
  var interface: UInt32 = 0
  /// Super-packets that were injected, and whether the kernel drops them without a word.
  private(set) var superPackets = 0
  var losesSuperPackets = false
  /// What the kernel takes of an injected packet, in octets.
  var interfaceMTU = Int.max
  /// Whether packets that are injected may have wrong checksums, for they came so.
  var allowsDamage = false
  /// The marks of what was injected last.
  private(set) var injectedMarks: [UInt32] = []
  /// ICMP errors for other engines.
  private(set) var strayErrors: [StrayError] = []
  /// What modules have told.
  private(set) var events: [ModuleEvent] = []
  /// Whether a packet has left with the mark that has the kernel forward the connection alone.
  private(set) var isOffloaded = false
  private var now = Instant.zero

  init(_ settings: Settings = Settings()) { engine = Engine(settings) }

  /// What became of one packet.
  struct Outcome {
    enum Kind { case accepted, dropped, mangled }
    var kind: Kind
    /// The packet as it goes on, nil where it was dropped.
    var packet: TCPPacket?
    /// The mark that the verdict sets.
    var mark: UInt32?
    var injected: [TCPPacket]
    /// Whether it was left to the kernel to compute the checksum of TCP.
    var isUnsummed = false
  }

  /// Swaps in one flow that matches everything, with `modules`.
  mutating func configure(_ modules: [any ProcessingModule], at now: Instant = .zero) throws {
    try configure(flows: [("any", modules)], at: now)
  }

  /// Swaps in a flow for each match.
  ///
  /// - Parameter packetsRun: how modules run that work on packets.
  mutating func configure(
    flows: [(match: String, modules: [any ProcessingModule])], onFail: Flow.FailurePolicy = .pass,
    packetsRun: AttachedModule.RunMode = .inline, at now: Instant = .zero
  ) throws {
    var list: [Flow] = []
    for (index, flow) in flows.enumerated() {
      let attached = flow.modules.enumerated().map { index, module in
        AttachedModule(
          id: nextModule + UInt32(index), name: "m\(index)",
          run: type(of: module).description.layer == .app ? .inline : packetsRun, prototype: module)
      }
      nextModule += UInt32(flow.modules.count)
      list.append(
        Flow(
          id: UInt32(index + 1), name: "f\(index)", match: try Match(parsing: flow.match, portNamed: { _ in nil }),
          priority: 0, onFail: onFail, stages: attached.map { [$0] }))
    }
    engine.apply(Configuration(flows: list), at: now)
  }

  mutating func receive(
    _ packet: TCPPacket, isGSO: Bool = false, isChecksumTrusted: Bool = false, mark: UInt32 = 0, inPort: UInt32? = nil,
    isSound: Bool = true, at now: Instant
  ) -> Outcome {
    self.now = now
    arrived += 1
    let start = 64
    let buffer = unsafe engine.receiveBuffers(1)[0]
    unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[start...]).copyBytes(from: packet.bytes)
    var metadata = PacketMetadata()
    metadata.isGSO = isGSO
    metadata.isSummedLater = isGSO
    metadata.isChecksumTrusted = isChecksumTrusted
    metadata.mark = mark
    metadata.inPort = inPort ?? interface
    let verdict = engine.receive(0, packet: start..<start + packet.bytes.count, metadata: metadata, at: now)
    var outcome = Outcome(kind: .dropped, packet: nil, mark: nil, injected: [])
    switch verdict {
    case .accept(let mark):
      outcome.kind = .accepted
      outcome.packet = packet
      outcome.mark = mark
    case .drop: break
    case .mangle(let packet, let mark):
      outcome.kind = .mangled
      outcome.packet = gather(packet)
      outcome.mark = mark
      if isGSO, let packet = outcome.packet {
        #expect(packet.payload.count > 0, "a super-packet must not be left without payload")
        outcome.isUnsummed = !packet.isChecksumRight
        outcome.packet = packet.summed()
      }
    }
    if let mark = outcome.mark, mark & Marks.standard.offloaded != 0 { isOffloaded = true }
    outcome.injected = takeInjections()
    if outcome.kind == .mangled, let packet = outcome.packet {
      #expect(!isSound || packet.isChecksumRight && packet.isHeaderSound)
    }
    return outcome
  }

  /// Gives the engine the beginning of a packet, and says whether the packet passes.
  mutating func passes(beginning bytes: some Collection<UInt8>, mark: UInt32 = 0) -> Bool {
    let buffer = unsafe engine.receiveBuffers(1)[0]
    unsafe buffer.copyBytes(from: bytes)
    var metadata = PacketMetadata()
    metadata.mark = mark
    metadata.isGSO = true
    metadata.isChecksumTrusted = true
    let verdict = engine.receive(0, beginning: 0..<bytes.count, metadata: metadata, at: now)
    #expect(engine.output.injections.isEmpty)
    if case .accept(nil) = verdict { return true }
    return false
  }

  /// As ``receive(_:isGSO:isChecksumTrusted:mark:inPort:at:)``; what has become subject to editing by it.
  mutating func receiveAnnouncing(_ packet: TCPPacket, at now: Instant) -> [EditableConnection] {
    announced = []
    _ = receive(packet, at: now)
    return announced
  }

  /// Gives the engine an ICMP error that came to another one.
  mutating func receive(_ stray: StrayError, at now: Instant) -> [TCPPacket] {
    self.now = now
    engine.receive(stray, at: now)
    return takeInjections()
  }

  mutating func advance(to now: Instant) -> [TCPPacket] {
    self.now = now
    engine.advance(to: now)
    return takeInjections()
  }

  /// Takes over what modules on threads have returned.
  mutating func collect(at now: Instant = .zero) -> [TCPPacket] {
    self.now = now
    engine.collect(at: now)
    return takeInjections()
  }

  /// What the engine sent of its own accord.
  mutating func takeInjections() -> [TCPPacket] {
    var list: [TCPPacket] = []
    injectedMarks = engine.output.injections.map(\.mark)
    var index = 0
    while index < engine.output.injections.count {
      let injection = engine.output.injections[index]
      index += 1
      let packet = gather(injection.packet)
      #expect(injection.mark & Marks.standard.injected != 0)
      if let segmentation = injection.segmentation {
        superPackets += 1
        if !losesSuperPackets { list += packet.cut(segmentation) }
        continue
      }
      #expect(packet.isChecksumRight || allowsDamage)
      if injection.packet.length > interfaceMTU {
        engine.refuse(injection, mtu: interfaceMTU, at: now)
      } else {
        list.append(packet)
      }
    }
    announced += engine.output.editable
    strayErrors += engine.output.strayErrors
    events += engine.output.events
    engine.recycle()
    return list
  }

  private func gather(_ packet: OutgoingPacket) -> TCPPacket {
    var bytes: [UInt8] = []
    unsafe engine.output.pieces.withUnsafeBufferPointer { pieces in
      for index in packet.pieces { unsafe bytes.append(contentsOf: pieces[index]) }
    }
    #expect(bytes.count == packet.length)
    return TCPPacket(bytes)
  }
}
