import HeapModule
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
    var delay: Nanoseconds = .milliseconds(2)

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
    var isGSO: Bool

    static func < (left: Event, right: Event) -> Bool { (left.time, left.order) < (right.time, right.order) }
    static func == (left: Event, right: Event) -> Bool { left.order == right.order }
  }

  var client: Host
  var server: Host
  var box: Middlebox
  private var random: Randomness
  private let clientLink: Link
  private let serverLink: Link
  private var events = Heap<Event>()
  private var order = 0
  private(set) var now = Instant.zero
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
    random = Randomness(seed: seed)
  }

  private mutating func send(_ packet: TCPPacket, to place: Place, over link: Link, isGSO: Bool = false) {
    if random.once(in: link.loss) { return }
    let copies = random.once(in: link.duplication) ? 2 : 1
    for _ in 0..<copies {
      var delay = link.delay
      if random.once(in: link.reordering) { delay += .milliseconds(Int64.random(in: 1...4, using: &random)) }
      order += 1
      events.insert(Event(time: now + delay, order: order, place: place, packet: packet, isGSO: isGSO))
    }
  }

  /// What leaves FlowOS: super-packets are cut, as the kernel does it.
  private mutating func forward(_ packet: TCPPacket, isGSO: Bool, segment: Int) {
    let headers = packet.headers
    let isToServer = headers?.ip.destination == server.me.address
    for piece in isGSO ? packet.segmented(segment) : [packet] {
      send(piece, to: isToServer ? .server : .client, over: isToServer ? serverLink : clientLink)
    }
  }

  private mutating func fromClient(_ packets: [TCPPacket]) {
    for packet in packets {
      send(packet, to: .boxFromClient, over: clientLink, isGSO: packet.payload.count > client.options.maximumSegment)
    }
  }

  private mutating func fromServer(_ packets: [TCPPacket]) {
    for packet in packets {
      send(packet, to: .boxFromServer, over: serverLink, isGSO: packet.payload.count > server.options.maximumSegment)
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
      for packet in box.takeInjections() { forward(packet, isGSO: false, segment: 0) }
      if let deadline = box.engine.nextDeadline, deadline <= now {
        for packet in box.advance(to: now) { forward(packet, isGSO: false, segment: 0) }
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
      let segment =
        min(client.options.maximumSegment, server.options.maximumSegment)
        - (client.options.usesTimestamps && server.options.usesTimestamps ? 12 : 0)
      let outcome = box.receive(event.packet, isGSO: event.isGSO, at: now)
      if let packet = outcome.packet {
        if event.isGSO { #expect(packet.payload.count > segment, "left with a single segment, seed \(seed)") }
        forward(packet, isGSO: event.isGSO, segment: segment)
      }
      for packet in outcome.injected {
        #expect(packet.payload.count <= segment, "an injected segment is too large")
        forward(packet, isGSO: false, segment: segment)
      }
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
