import ModuleTesting
import Testing

@testable import Engine

/// What modules see is what the destination gets, however a hostile source puts it: overlaps that contradict each other,
/// segments that pass here and never arrive, or arrive and are not taken.
///
/// The octets that have been seen are recorded in front of the edits; at any time what the destination has handed to its
/// application must be the beginning of their edit.
@Suite struct EvasionTests {
  enum Pipeline: CaseIterable { case reader, identity, editor }

  /// Which copy counts of an octet that has come twice before its turn.
  enum Policy: CaseIterable { case first, last }

  /// Records what it sees; that of the instance that has begun last counts.
  struct Recorder: ProcessingModule {
    final class Tape: @unchecked Sendable { var octets: [UInt8] = [] }
    static let description = ModuleDescription(kind: "recorder", access: .read, help: "Records.")
    var tape = Tape()
    private var hasBegun = false
    init(_ arguments: Arguments) {}
    init() {}
    mutating func process(_ window: inout Window) {
      if !hasBegun { tape.octets = [] }
      hasBegun = true
      tape.octets += window.copy(0..<window.count)
      window.releaseAll()
    }
  }

  /// A destination after RFC 9293 section 3.10.7.4, with the checks of RFC 5961 and RFC 7323.
  struct Destination {
    let policy: Policy
    let usesTimestamps: Bool
    /// The number of its SYN's successor, and of the source's.
    let own: UInt32
    let start: UInt32
    var consumed: [UInt8] = []
    var waiting: [Int: UInt8] = [:]
    var finishes: Set<Int> = []
    var edge: Int
    var recent: UInt32
    var isOver = false
    /// RCV.NXT as it was told last.
    private var told = 0

    init(policy: Policy, usesTimestamps: Bool, own: UInt32, start: UInt32, edge: Int, recent: UInt32) {
      self.policy = policy
      self.usesTimestamps = usesTimestamps
      self.own = own
      self.start = start
      self.edge = edge
      self.recent = recent
    }

    /// Takes a packet; whether it is answered.
    mutating func receive(_ packet: TCPPacket) -> Bool {
      guard packet.isSound, !isOver else { return false }
      let tcp = packet.tcp
      if usesTimestamps {
        guard let stamp = tcp.options.timestamps else { return false }
        guard Int32(bitPattern: stamp.value &- recent) >= 0 else { return true }
      }
      let offset = Int(Int32(bitPattern: tcp.sequence &- start))
      if tcp.flags.contains(.rst) {
        if offset == consumed.count { isOver = true }
        return !isOver
      }
      if tcp.flags.contains(.syn) { return true }
      guard tcp.flags.contains(.ack) else { return false }
      guard Int32(bitPattern: tcp.acknowledgement &- own) <= 0 else { return true }
      let end = offset + packet.payload.count
      guard end + (tcp.flags.contains(.fin) ? 1 : 0) > consumed.count, offset < max(edge, consumed.count + 1) else {
        return true
      }
      if let stamp = tcp.options.timestamps, offset <= told { recent = stamp.value }
      for (index, octet) in packet.payload.enumerated() where offset + index >= consumed.count {
        let place = offset + index
        guard place < edge else { break }
        if policy == .last || waiting[place] == nil { waiting[place] = octet }
      }
      if tcp.flags.contains(.fin), end <= edge { finishes.insert(end) }
      let isInOrder = offset <= consumed.count
      while let octet = waiting.removeValue(forKey: consumed.count) {
        consumed.append(octet)
        // The FIN of the segment at hand counts at once, whatever waits behind it.
        if isInOrder, tcp.flags.contains(.fin), consumed.count == end { break }
      }
      if finishes.contains(consumed.count) { isOver = true }
      return true
    }

    mutating func acknowledgement() -> (number: UInt32, window: UInt16) {
      told = consumed.count
      return (start &+ UInt32(consumed.count) &+ (isOver ? 1 : 0), UInt16(max(0, edge - consumed.count)))
    }
  }

  /// Which end is hostile.
  enum Side: CaseIterable { case client, server }

  /// A hostile end, FlowOS and the other end.
  private struct Attack: ~Copyable {
    static let hopLimitOfDecoys: UInt8 = 2
    static let octets = 700
    let seed: UInt64
    let side: Side
    var random: SplitMix
    var box: Middlebox
    var destination: Destination
    let editor: ByteEditor?
    let tape: Recorder.Tape
    var now = Instant.zero
    /// The hostile end, and the one that gets what it sends.
    let source: Endpoint
    let target: Endpoint
    /// What it may say at each place.
    var voices: [[UInt8]] = []
    var told = 0
    /// Whether packets are lost behind FlowOS.
    var isLossy = true
    /// Acknowledgements on their way to FlowOS.
    var answers: [TCPPacket] = []
    var log: [String] = []
    private(set) var isOpen = true

    init(_ seed: UInt64, _ side: Side, _ pipeline: Pipeline, _ policy: Policy) throws {
      var random = SplitMix(seed: seed)
      let isIPv6 = random.once(in: 2)
      let client = Endpoint(address: try #require(IPAddress(isIPv6 ? "fd00::1" : "10.0.0.1")), port: 40_000)
      let server = Endpoint(address: try #require(IPAddress(isIPv6 ? "fd00::2" : "10.0.1.2")), port: 80)
      let rule = [SimulationTests.shrink, SimulationTests.grow, SimulationTests.mixed][Int(seed % 3)]
      let hold = [0, 0, 4][Int(random.next() % 3)]
      let editor: ByteEditor? =
        switch pipeline {
        case .reader: nil
        case .identity: ByteEditor(rule: [:], hold: hold)
        case .editor: ByteEditor(rule: rule, hold: hold)
        }
      let recorder = Recorder()
      var modules: [any ProcessingModule] = [recorder]
      if let editor { modules.append(editor) }
      var box = Middlebox()
      try box.configure(modules)
      let first = SimulationTests.bytes(Self.octets, &random)
      voices = [first]
      for _ in 0..<2 {
        var other = first
        for index in other.indices where random.once(in: 3) { other[index] = UInt8.random(in: 0...9, using: &random) }
        voices.append(other)
      }
      destination = Destination(
        policy: policy, usesTimestamps: random.once(in: 2), own: UInt32(truncatingIfNeeded: random.next()),
        start: random.once(in: 2) ? 0 &- 100 : UInt32(truncatingIfNeeded: random.next()),
        edge: [80, 300, 5_000].randomElement(using: &random)!, recent: 1_000)
      self.seed = seed
      self.side = side
      self.random = random
      (source, target) = side == .client ? (client, server) : (server, client)
      self.editor = editor
      tape = recorder.tape
      self.box = box
      switch side {
      case .client: open()
      case .server: answerOpening()
      }
      send(segment(0, []))
    }

    /// Answers the opening of a connection, with decoys in between.
    private mutating func answerOpening() {
      let options: [UInt8] = [2, 4, 2, 24, 4, 2] + (destination.usesTimestamps ? Self.stamp(1_000) : [])
      let window = UInt16(destination.edge)
      let syn = TCPPacket(
        from: target, to: source, sequence: destination.own &- 1, flags: .syn, window: window, options: options)
      let answer = TCPPacket(
        from: source, to: target, sequence: destination.start &- 1, acknowledgement: destination.own,
        flags: [.syn, .ack], options: options)
      let acknowledgement = TCPPacket(
        from: target, to: source, sequence: destination.own, acknowledgement: destination.start, flags: .ack,
        window: window, options: destination.usesTimestamps ? Self.stamp(1_000) : [])
      #expect(box.receive(syn, at: now).packet != nil)
      let attempts = 5
      for attempt in 1...attempts {
        for _ in 0..<Int.random(in: 0...2, using: &random) { misleadOpening() }
        log.append("opening \(answer.summary(start: destination.start))")
        guard box.receive(answer, at: now).packet != nil else { continue }
        for _ in 0..<(attempt < attempts ? Int.random(in: 0...2, using: &random) : 0) { misleadOpening() }
        // It is the last answer that the target must agree to; what it says to another is dropped, and that one comes again.
        if box.receive(acknowledgement, at: now).packet != nil { return }
      }
      // Decoys had it ended here, or begun elsewhere, so that its answer does not pass: who sends those harms himself alone.
      isOpen = false
    }

    /// Opens the connection, with decoys in between.
    private mutating func open() {
      let options: [UInt8] = [2, 4, 2, 24, 4, 2] + (destination.usesTimestamps ? Self.stamp(1_000) : [])
      let answer = TCPPacket(
        from: target, to: source, sequence: destination.own &- 1, acknowledgement: destination.start,
        flags: [.syn, .ack], window: UInt16(destination.edge), options: options)
      let attempts = 5
      for attempt in 1...attempts {
        for _ in 0..<Int.random(in: 0...2, using: &random) { misleadOpening() }
        let data = random.once(in: 3) ? voices[1].prefix(20) : []
        let syn = TCPPacket(
          from: source, to: target, sequence: destination.start &- 1, flags: .syn, options: options,
          payload: Array(data))
        log.append("opening \(syn.summary(start: destination.start))")
        #expect(box.receive(syn, at: now).packet != nil)
        for _ in 0..<(attempt < attempts ? Int.random(in: 0...2, using: &random) : 0) { misleadOpening() }
        // It is the last SYN that opens the connection; the answer to another is dropped, and the source tries again.
        if box.receive(answer, at: now).packet != nil { return }
      }
      Issue.record("seed \(seed): the connection does not open")
    }

    /// Sends what would open another connection, or this one in another way, if it ever arrived.
    private mutating func misleadOpening() {
      let place = [-50_000, -10, 0, 0, 0, 10, 50_000].randomElement(using: &random)!
      let payload = Array(voices[2].prefix(random.once(in: 2) ? 10 : 0))
      var packet: TCPPacket
      // Data with a SYN of the server's is Fast Open, and so may data with other numbers look; then nothing is enforced.
      if random.once(in: 2) {
        packet = syn(place - 1, place == 0 && side == .client ? payload : [])
      } else {
        let kinds: [TCPFlags] = [.ack, .rst, [.rst, .ack], [.fin, .ack], [.syn, .ack]]
        let flags = kinds.randomElement(using: &random)!
        packet = segment(place, side == .server && flags.contains(.syn) ? [] : payload, flags: flags)
      }
      packet.setHopLimit(Self.hopLimitOfDecoys)
      log.append("opening \(packet.summary(start: destination.start))")
      _ = box.receive(packet, at: now)
    }

    /// A SYN with options that change what becomes of a connection. One that hides what the ends agree on, such as timestamps,
    /// may have delivery that is ours fail, which ends the source's own connection.
    private mutating func syn(_ offset: Int, _ payload: [UInt8]) -> TCPPacket {
      let join: [UInt8] = [30, 12, 0x10, 0] + [UInt8](repeating: 0, count: 8)
      let options = [[], OpeningRows.signature, OpeningRows.multipath, join, OpeningRows.cookie]
      return TCPPacket(
        from: source, to: target, sequence: destination.start &+ UInt32(truncatingIfNeeded: offset), flags: .syn,
        options: options.randomElement(using: &random)! + (destination.usesTimestamps ? Self.stamp(1_000) : []),
        payload: payload)
    }

    static func stamp(_ value: UInt32) -> [UInt8] {
      [1, 1, 8, 10] + PacketBytes.octets(value) + PacketBytes.octets(7 as UInt32)
    }

    /// The source's clock.
    var clock: UInt32 { 1_000 + UInt32(now.nanoseconds / 1_000_000) }

    func segment(
      _ offset: Int, _ payload: [UInt8], flags: TCPFlags = .ack, acknowledging: UInt32 = 0, clock: UInt32? = nil
    ) -> TCPPacket {
      TCPPacket(
        from: source, to: target, sequence: destination.start &+ UInt32(truncatingIfNeeded: offset),
        acknowledgement: flags.contains(.ack) ? destination.own &+ acknowledging : 0, flags: flags,
        options: destination.usesTimestamps ? Self.stamp(clock ?? self.clock) : [], payload: payload)
    }

    mutating func send(_ packet: TCPPacket) {
      let outcome = box.receive(packet, at: now)
      route(outcome.packets)
    }

    mutating func route(_ packets: [TCPPacket]) {
      for packet in packets {
        if isLossy, random.once(in: 8) { continue }
        if packet.headers?.ip.source == target.address {
          let number = Int(Int32(bitPattern: packet.tcp.acknowledgement &- destination.start))
          told = max(told, min(number, Self.octets))
        } else if packet.hopLimit > Self.hopLimitOfDecoys {
          log.append("    out \(packet.summary(start: destination.start)) have \(destination.consumed.count)")
          if destination.receive(packet) { answer() }
        }
      }
    }

    mutating func answer() {
      let (number, window) = destination.acknowledgement()
      answers.append(
        TCPPacket(
          from: target, to: source, sequence: destination.own, acknowledgement: number, flags: .ack, window: window,
          options: destination.usesTimestamps ? Self.stamp(1_000) : []))
    }

    /// Lets the first acknowledgement on its way arrive.
    mutating func deliverAnswer() {
      guard !answers.isEmpty else { return }
      let packet = answers.removeFirst()
      route(box.receive(packet, at: now).packets)
    }

    mutating func pass(_ span: Nanoseconds) {
      now = now + span
      route(box.advance(to: now))
    }

    mutating func openWindow(by octets: Int) {
      destination.edge = max(destination.edge, destination.consumed.count + octets)
      answer()
    }

    /// One hostile act.
    mutating func act() {
      if random.once(in: 3) { pass(.milliseconds(Int64.random(in: 0...30, using: &random))) }
      if random.once(in: 2) { deliverAnswer() }
      if random.once(in: 12) { openWindow(by: Int.random(in: 1...300, using: &random)) }
      let offset = min(max(0, told + Int.random(in: -30...90, using: &random)), Self.octets)
      let count = random.once(in: 3) ? 1 : Int.random(in: 1...60, using: &random)
      let end = min(Self.octets, offset + count)
      let payload = Array(voices.randomElement(using: &random)![offset..<end])
      var packet = segment(offset, payload)
      var what = "data"
      switch Int.random(in: 0..<24, using: &random) {
      case 0:
        what = "wrong checksum"
        packet.bytes[packet.bytes.count - 1] ^= 0x10
      case 1...3:
        what = "decoy"
        packet.setHopLimit(Self.hopLimitOfDecoys)
      case 4:
        what = "old timestamp"
        packet = segment(offset, payload, clock: 500)
      case 5:
        what = "no ACK"
        packet = segment(offset, payload, flags: .psh)
      case 6:
        what = "acknowledges the future"
        packet = segment(offset, payload, acknowledging: 5_000)
      case 7:
        what = "reset"
        // The exact number only as a decoy; exact is what was read so far, as nobody knows that better than the source.
        let wrong = [-1, 0, 0, 1, 7, 60].randomElement(using: &random)!
        packet = segment(seenCount + wrong, [], flags: [.rst, .ack])
        packet.setHopLimit(Self.hopLimitOfDecoys)
        if random.once(in: 2), wrong != 0 {
          packet = segment(destination.consumed.count + wrong, [], flags: [.rst, .ack])
        }
      case 8:
        what = "FIN"
        packet = segment(offset + Int.random(in: 3...200, using: &random), [], flags: [.fin, .ack])
        // Only far away, or as a decoy: else the connection is soon over.
        if random.once(in: 2) || offset < Self.octets { packet.setHopLimit(Self.hopLimitOfDecoys) }
      case 9:
        what = "SYN"
        packet = random.once(in: 2) ? syn(-1, payload) : segment(offset, payload, flags: .syn)
      case 10 where random.once(in: 4):
        what = "the end, as a decoy"
        packet = segment(offset, payload, flags: [.fin, .ack])
        packet.setHopLimit(Self.hopLimitOfDecoys)
      case 10:
        what = "urgent"
        packet = segment(offset, payload, flags: [.ack, .urg])
      case 11:
        what = "beyond the window"
        packet = segment(offset + 5_000, payload)
      case 12:
        what = "at the window's edge"
        let from = min(Self.octets - 1, destination.edge + Int.random(in: -20...20, using: &random))
        packet = segment(from, Array(voices.randomElement(using: &random)![from..<min(Self.octets, from + 30)]))
      default: break
      }
      log.append("\(what) \(packet.summary(start: destination.start))")
      send(packet)
    }

    /// Sends what is missing as an honest source does, until all of it has arrived.
    mutating func makeUp() {
      isLossy = false
      for _ in 0..<400 {
        pass(.milliseconds(50))
        openWindow(by: 300)
        while !answers.isEmpty { deliverAnswer() }
        guard !destination.isOver, told < Self.octets || destination.consumed.count < seen.count else { return }
        send(segment(told, Array(voices[0][told..<min(Self.octets, told + 100)])))
      }
    }

    /// Octets of the source that the modules have seen.
    var seenCount: Int { tape.octets.count }

    /// The edit of what the modules have seen.
    var seen: [UInt8] { editor?.edit(tape.octets) ?? tape.octets }

    /// Whether the destination's application has got what the modules have seen, so far.
    var isConsistent: Bool { seen.starts(with: destination.consumed) }
  }

  @Test(arguments: Pipeline.allCases, Policy.allCases)
  func modulesSeeWhatTheDestinationGets(_ pipeline: Pipeline, _ policy: Policy) throws {
    for side in Side.allCases {
      let seeds = 0..<(Matrix.seedCount ?? 150)
      let opened = try seeds.filter { try attack(side, $0, pipeline, policy) }.count
      #expect(opened > seeds.count * 9 / 10)
    }
  }

  /// Returns whether there was a connection to attack.
  private func attack(_ side: Side, _ seed: UInt64, _ pipeline: Pipeline, _ policy: Policy) throws -> Bool {
    var attack = try Attack(seed, side, pipeline, policy)
    guard attack.isOpen else { return false }
    for _ in 0..<150 {
      attack.act()
      guard attack.isConsistent else { break }
    }
    if attack.isConsistent { attack.makeUp() }
    let (got, seen) = (attack.destination.consumed, attack.seen)
    let place = zip(got, seen).enumerated().first { $0.element.0 != $0.element.1 }?.offset
    guard attack.isConsistent else {
      let at = place ?? seen.count
      let log = attack.log.suffix(80).joined(separator: "\n")
      Issue.record("\(side), seed \(seed): \(got.count) got, \(seen.count) seen, differ at \(at)\n\(log)")
      return true
    }
    let isOver = attack.destination.isOver
    #expect(isOver || got.count == seen.count, "\(side), seed \(seed): \(got.count) of \(seen.count)")
    #expect(isOver || attack.told == 700, "\(side), seed \(seed): \(attack.told)")
    return true
  }
}

extension TCPPacket {
  var hopLimit: UInt8 { bytes[0] >> 4 == 4 ? bytes[8] : bytes[7] }

  mutating func setHopLimit(_ limit: UInt8) {
    guard bytes[0] >> 4 == 4 else {
      bytes[7] = limit
      return
    }
    bytes[8] = limit
    bytes[10] = 0
    bytes[11] = 0
    let sum = Checksum.fold(Checksum.sum(bytes.span.extracting(..<20), initial: 0))
    bytes[10] = UInt8(sum >> 8)
    bytes[11] = UInt8(sum & 255)
  }

  /// The essence of a segment, for a log.
  func summary(start: UInt32) -> String {
    let offset = Int32(bitPattern: tcp.sequence &- start)
    return
      "\(offset)..<\(Int(offset) + payload.count) flags \(tcp.flags.rawValue) \(Array(payload.prefix(4))) hop \(hopLimit)"
  }
}
