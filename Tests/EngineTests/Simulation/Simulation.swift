import HeapModule
import ModuleTesting
import Testing

@testable import Engine

/// Client, FlowOS and server in one struct, with a link on either side that loses, reorders and doubles, and a clock that
/// jumps to the next event. The same seed gives the same run.
struct Simulation: ~Copyable {
  struct Link {
    /// One packet in so many is lost; 0 for none. The same for the others.
    var loss = 0
    var duplication = 0
    var reordering = 0
    /// One bit is flipped.
    var corruption = 0
    var delay: Nanoseconds = .milliseconds(2)
    /// Octets a second that fit through; 0 for as many as there are.
    var rate = 0

    static let clean = Link()
    static let lossy = Link(loss: 50)
    static let bad = Link(loss: 20, duplication: 30, reordering: 10)
  }

  private enum Place { case client, boxFromClient, boxFromServer, server }

  private struct Event: Comparable {
    var time: Instant
    var order: Int
    var place: Place
    var packet: TCPPacket
    /// Octets of the segments that a super-packet is to be cut into, nil where it is none.
    var segment: Int?

    static func < (left: Event, right: Event) -> Bool { (left.time, left.order) < (right.time, right.order) }
    static func == (left: Event, right: Event) -> Bool { left.order == right.order }
  }

  var client: Host
  var server: Host
  var box: Middlebox
  private var random: SplitMix
  private let clientLink: Link
  private let serverLink: Link
  private var events = Heap<Event>()
  private var order = 0
  /// When each way of each link is through with what it has been given.
  private var free: [Place: Instant] = [:]
  private(set) var now = Instant.zero
  /// A hash over all packets that have been sent, and when: two runs with the same are the same.
  private(set) var trace: UInt64 = 0xcbf2_9ce4_8422_2325
  /// Called at each step with the time, to change things on the way.
  let seed: UInt64
  /// Packets on the way in and out of FlowOS, for counting.
  private(set) var packets = 0

  init(
    seed: UInt64, client: Host, server: Host, box: consuming Middlebox, clientLink: Link = .clean,
    serverLink: Link = .clean
  ) {
    self.seed = seed
    self.client = client
    self.server = server
    self.box = box
    self.clientLink = clientLink
    self.serverLink = serverLink
    random = SplitMix(seed: seed)
  }

  private mutating func note(_ packet: TCPPacket) {
    func add(_ octet: UInt8) { trace = (trace ^ UInt64(octet)) &* 0x100_0000_01b3 }
    for shift in stride(from: 0, to: 64, by: 8) { add(UInt8(truncatingIfNeeded: now.nanoseconds >> Int64(shift))) }
    // The payload stands in the checksum.
    for octet in packet.bytes.prefix(80) { add(octet) }
  }

  private mutating func send(_ packet: TCPPacket, to place: Place, over link: Link, segment: Int? = nil) {
    note(packet)
    if random.once(in: link.loss) { return }
    var packet = packet
    // Of what is damaged no super-packet is made. Damage upon damage may cancel out in the checksum.
    if segment == nil, random.once(in: link.corruption), packet.isSound {
      let bit = Int.random(in: 0..<packet.bytes.count * 8, using: &random)
      packet.bytes[bit / 8] ^= 1 << UInt8(bit % 8)
      guard packet.isHeaderSound else { return }
    }
    let copies = random.once(in: link.duplication) ? 2 : 1
    for _ in 0..<copies {
      var delay = link.delay
      if link.rate > 0 {
        let through = max(now, free[place] ?? now) + Int64(packet.bytes.count) * .seconds(1) / Int64(link.rate)
        free[place] = through
        delay = delay + (through - now)
      }
      if random.once(in: link.reordering) { delay += .milliseconds(Int64.random(in: 1...4, using: &random)) }
      order += 1
      events.insert(Event(time: now + delay, order: order, place: place, packet: packet, segment: segment))
    }
  }

  /// What leaves FlowOS: super-packets are cut, as the kernel does it.
  private mutating func forward(_ packet: TCPPacket, segment: Int? = nil) {
    let isToServer = packet.headers?.ip.source == client.me.address
    for piece in segment.map(packet.segmented) ?? [packet] {
      send(piece, to: isToServer ? .server : .client, over: isToServer ? serverLink : clientLink)
    }
  }

  private mutating func fromClient(_ packets: [TCPPacket]) {
    for packet in packets {
      let segment = packet.payload.count > client.segment ? client.segment : nil
      send(packet, to: .boxFromClient, over: clientLink, segment: segment)
    }
  }

  private mutating func fromServer(_ packets: [TCPPacket]) {
    for packet in packets {
      let segment = packet.payload.count > server.segment ? server.segment : nil
      send(packet, to: .boxFromServer, over: serverLink, segment: segment)
    }
  }

  private mutating func start() {
    fromClient(client.connect(now: now))
  }

  /// Runs until both ends are done, or `limit` of virtual time is over. `change` is called before each event.
  mutating func run(
    for limit: Nanoseconds = .seconds(600), change: (Instant, inout Middlebox) -> Void = { _, _ in }
  ) {
    if packets == 0 { start() }
    while !(client.isDone && server.isDone) {
      let candidates = [events.min?.time, client.timer, server.timer, box.engine.nextDeadline].compactMap { $0 }
      guard let next = candidates.min(), next - .zero < limit else { return }
      now = max(now, next)
      packets += 1
      change(now, &box)
      for packet in box.takeInjections() { forward(packet) }
      if let deadline = box.engine.nextDeadline, deadline <= now {
        for packet in box.advance(to: now) { forward(packet) }
      }
      if let due = client.timer, due <= now { fromClient(client.timerFired(now: now)) }
      if let due = server.timer, due <= now { fromServer(server.timerFired(now: now)) }
      while let event = events.min, event.time <= now {
        events.removeMin()
        deliver(event)
      }
    }
  }

  private mutating func deliver(_ event: Event) {
    switch event.place {
    case .client: fromClient(client.receive(event.packet, now: now))
    case .server: fromServer(server.receive(event.packet, now: now))
    case .boxFromClient, .boxFromServer:
      // Some stand in the queue already.
      if box.isOffloaded, !random.once(in: 8) {
        forward(event.packet, segment: event.segment)
        return
      }
      let outcome = box.receive(event.packet, isGSO: event.segment != nil, at: now)
      if let packet = outcome.packet {
        if let segment = event.segment {
          #expect(packet.payload.count > segment, "left with a single segment, seed \(seed)")
        }
        forward(packet, segment: event.segment)
      }
      for packet in outcome.injected { forward(packet) }
    }
  }
}

extension TCPPacket {
  /// The packet cut into segments of `size` octets, as the kernel's segmentation does it.
  func segmented(_ size: Int) -> [TCPPacket] {
    guard let headers, payload.count > size else { return [self] }
    let tcp = self.tcp
    let headerCount = headers.payloadOffset
    let ipCount = headers.ip.headerLength
    var list: [TCPPacket] = []
    var offset = 0
    while offset < payload.count {
      let count = min(size, payload.count - offset)
      let isLast = offset + count == payload.count
      var bytes = Array(self.bytes[..<headerCount]) + payload.dropFirst(offset).prefix(count)
      var flags = tcp.flags
      if !isLast { flags.subtract([.fin, .psh]) }
      let total = bytes.count
      do {
        var span = bytes.mutableSpan
        HeaderPatch.setTotalLength(headerCount + count, in: &span)
        HeaderPatch.setTCPSequence(tcp.sequence &+ UInt32(offset), in: &span, tcp: ipCount)
        HeaderPatch.setTCPFlags(flags, in: &span, tcp: ipCount)
        HeaderPatch.setTCPChecksum(0, in: &span, tcp: ipCount)
        let sum = Checksum.pseudoHeader(
          source: headers.ip.source, destination: headers.ip.destination, protocolNumber: 6,
          length: total - ipCount, isIPv6: headers.ip.isIPv6)
        HeaderPatch.setTCPChecksum(
          Checksum.fold(Checksum.sum(span.span.extracting(ipCount...), initial: sum)), in: &span, tcp: ipCount)
      }
      list.append(TCPPacket(bytes))
      offset += count
    }
    return list
  }
}
