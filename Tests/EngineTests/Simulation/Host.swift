@testable import Engine

/// A plain TCP end: what it has to send, what it has received, retransmission by timer and by duplicate
/// acknowledgements, selective acknowledgements, windows. Obvious rather than fast.
struct Host {
  struct Options {
    var maximumSegment = 1_460
    var windowScale: UInt8? = 7
    var usesTimestamps = true
    var usesSACK = true
    /// Segments of a super-packet.
    var segmentsAtOnce = 1
    /// Octets that the receiver can hold.
    var receiveWindow = 200_000
    /// Octets in flight at the most.
    var sendWindow = 60_000
    var initialSequence: UInt32 = 1_000
    var isDelayingAcknowledgements = false
    /// The application stops reading for `time` behind every `octets` of the stream, so that the window closes.
    var pause: (octets: Int, time: Nanoseconds)?
    /// A closed window is probed with the next octet, else with an old number and no octet.
    var probesWithData = false
    /// The end of what is sent waits for the end of what is received.
    var endsLast = false
    /// The links damage packets: one with a wrong checksum is none of FlowOS's doing.
    var expectsDamage = false
  }

  let me: Endpoint
  let peer: Endpoint
  let options: Options
  let isClient: Bool

  /// All that is to be sent.
  let outgoing: [UInt8]
  private(set) var received: [UInt8] = []
  private(set) var isEstablished = false
  private(set) var receivedFinish = false
  private(set) var wasReset = false
  /// Things that a real end would find wrong.
  private(set) var complaints: [String] = []

  private var unacknowledged: UInt32
  private var next: UInt32
  private var hasHeardPeer = false
  private var receiveNext: UInt32 = 0
  private var early: [(UInt32, [UInt8], Bool)] = []
  private var peerWindow = 0
  private var peerScale: UInt8 = 0
  private var peerMaximum = 536
  private var agreedTimestamps = false
  private var agreedSACK = false
  private var agreedScale = false
  private var recentTimestamp: UInt32 = 0
  private var duplicates = 0
  private var recover: UInt32
  private var deadline: Instant?
  private var backoff: Int64 = 0
  /// The right edge of the window as it has been offered furthest; it is never taken back.
  private var offeredEdge: UInt32 = 0
  /// RCV.NXT as it was told last.
  private var lastTold: UInt32 = 0
  private var pendingDelayed = 0
  private var delayedDeadline: Instant?
  /// Octets that the application has not read yet, and since its last pause.
  private var unread = 0
  private var sincePause = 0
  private var resumption: Instant?

  init(_ me: Endpoint, _ peer: Endpoint, isClient: Bool, sending outgoing: [UInt8], options: Options) {
    self.me = me
    self.peer = peer
    self.isClient = isClient
    self.outgoing = outgoing
    self.options = options
    unacknowledged = options.initialSequence
    next = options.initialSequence
    recover = options.initialSequence
  }

  private var finishSequence: UInt32 { options.initialSequence &+ 1 &+ UInt32(outgoing.count) }

  var isDone: Bool { receivedFinish && isEstablished && unacknowledged == finishSequence &+ 1 }

  var timer: Instant? { [deadline, delayedDeadline, resumption].compactMap { $0 }.min() }

  /// Octets of payload in a segment of its own, options deducted.
  var segment: Int {
    var size = min(options.maximumSegment, peerMaximum) - (agreedTimestamps ? 12 : 0)
    if agreedSACK, !early.isEmpty { size -= 4 + 8 * sackBlocks.count }
    return size
  }

  // MARK: Sending

  private mutating func packet(
    _ sequence: UInt32, _ flags: TCPFlags, payload: [UInt8] = [], synOptions: Bool = false, now: Instant
  ) -> TCPPacket {
    var list: [UInt8] = []
    if synOptions {
      list += [2, 4, UInt8(options.maximumSegment >> 8), UInt8(options.maximumSegment & 255)]
      if let scale = options.windowScale { list += [3, 3, scale] }
      if options.usesSACK { list += [4, 2] }
    }
    if synOptions ? options.usesTimestamps : agreedTimestamps {
      list += [1, 1, 8, 10] + Self.octets(clock(now)) + Self.octets(recentTimestamp)
    }
    if agreedSACK, !early.isEmpty, !synOptions {
      let blocks = sackBlocks
      list += [1, 1, 5, UInt8(2 + 8 * blocks.count)] + blocks.flatMap { Self.octets($0.0) + Self.octets($0.1) }
    }
    if flags.contains(.ack) { lastTold = receiveNext }
    return TCPPacket(
      from: me, to: peer, sequence: sequence, acknowledgement: flags.contains(.ack) ? receiveNext : 0, flags: flags,
      window: offer(synOptions), options: list, payload: payload)
  }

  private func clock(_ now: Instant) -> UInt32 {
    UInt32(truncatingIfNeeded: now.nanoseconds / 1_000_000) &+ (isClient ? 5_000 : 900_000)
  }

  /// The window for the header. Its edge moves on by a segment or half of the buffer at once (RFC 9293 section
  /// 3.8.6.2.2), and never back.
  private mutating func offer(_ isSyn: Bool) -> UInt16 {
    guard hasHeardPeer else { return UInt16(clamping: options.receiveWindow) }
    let scale = isSyn || !agreedScale ? 0 : Int(options.windowScale ?? 0)
    let room = min(options.receiveWindow - unread, 65_535 << scale) & ~((1 << scale) - 1)
    let offered = Self.distance(receiveNext, offeredEdge)
    if room - offered >= min(options.maximumSegment, options.receiveWindow / 2) {
      offeredEdge = receiveNext &+ UInt32(room)
    }
    return UInt16(clamping: max(0, Self.distance(receiveNext, offeredEdge)) >> scale)
  }

  /// How far `second` lies behind `first` on the circle.
  private static func distance(_ first: UInt32, _ second: UInt32) -> Int { Int(Int32(bitPattern: second &- first)) }

  private var sackBlocks: ArraySlice<(UInt32, UInt32)> { earlyBlocks.prefix(agreedTimestamps ? 3 : 4) }

  private var earlyBlocks: [(UInt32, UInt32)] {
    var blocks: [(UInt32, UInt32)] = []
    for (start, bytes, _) in early.sorted(by: { Int32(bitPattern: $0.0 &- $1.0) < 0 }) where !bytes.isEmpty {
      let end = start &+ UInt32(bytes.count)
      if let last = blocks.last, Int32(bitPattern: start &- last.1) <= 0 {
        if Int32(bitPattern: end &- last.1) > 0 { blocks[blocks.count - 1].1 = end }
      } else {
        blocks.append((start, end))
      }
    }
    return blocks
  }

  private static func octets(_ number: UInt32) -> [UInt8] {
    [UInt8(number >> 24), UInt8(number >> 16 & 255), UInt8(number >> 8 & 255), UInt8(number & 255)]
  }

  mutating func connect(now: Instant) -> [TCPPacket] {
    next = options.initialSequence &+ 1
    arm(now)
    return [packet(options.initialSequence, .syn, synOptions: true, now: now)]
  }

  private mutating func arm(_ now: Instant) { deadline = now + .milliseconds(200) << backoff }

  /// What may be sent now.
  mutating func transmit(now: Instant) -> [TCPPacket] {
    guard isEstablished, !wasReset else { return [] }
    var list: [TCPPacket] = []
    while true {
      let offset = Int(next &- options.initialSequence &- 1)
      let flight = Int(next &- unacknowledged)
      guard offset <= outgoing.count else { break }
      let room = min(peerWindow, options.sendWindow) - flight
      let count = min(outgoing.count - offset, room, segment * options.segmentsAtOnce)
      if offset == outgoing.count {
        if options.endsLast, !receivedFinish { break }
        list.append(packet(next, [.fin, .ack], now: now))
        next &+= 1
        break
      }
      guard count > 0 else { break }
      let isLast = offset + count == outgoing.count
      list.append(
        packet(next, isLast ? [.ack, .psh] : .ack, payload: Array(outgoing[offset..<offset + count]), now: now))
      next &+= UInt32(count)
    }
    let isWaiting = Int(next &- options.initialSequence &- 1) < outgoing.count
    if next != unacknowledged || isWaiting, deadline == nil { arm(now) }
    if !list.isEmpty {
      pendingDelayed = 0
      delayedDeadline = nil
    }
    return list
  }

  private mutating func retransmission(_ sequence: UInt32, now: Instant) -> TCPPacket {
    let offset = Int(sequence &- options.initialSequence &- 1)
    if offset >= outgoing.count { return packet(sequence, [.fin, .ack], now: now) }
    let count = min(segment, outgoing.count - offset, Int(next &- sequence))
    return packet(sequence, .ack, payload: Array(outgoing[offset..<offset + count]), now: now)
  }

  mutating func timerFired(now: Instant) -> [TCPPacket] {
    var list: [TCPPacket] = []
    if let due = delayedDeadline, due <= now {
      delayedDeadline = nil
      pendingDelayed = 0
      list.append(packet(next, .ack, now: now))
    }
    if let due = resumption, due <= now {
      resumption = nil
      unread = 0
      let before = offeredEdge
      let update = packet(next, .ack, now: now)
      if offeredEdge != before { list.append(update) }
    }
    guard let due = deadline, due <= now, !wasReset else { return list }
    let offset = Int(next &- options.initialSequence &- 1)
    guard unacknowledged != next || (isEstablished && offset < outgoing.count) else {
      deadline = nil
      return list
    }
    backoff = min(backoff + 1, 5)
    arm(now)
    duplicates = 0
    recover = next
    if !isEstablished {
      if isClient { return list + [packet(options.initialSequence, .syn, synOptions: true, now: now)] }
      return list + [packet(options.initialSequence, [.syn, .ack], synOptions: true, now: now)]
    }
    if unacknowledged == next {
      guard options.probesWithData else { return list + [packet(next &- 1, .ack, now: now)] }
      next &+= 1
      return list + [packet(next &- 1, .ack, payload: [outgoing[offset]], now: now)]
    }
    return list + [retransmission(unacknowledged, now: now)]
  }

  // MARK: Receiving

  mutating func receive(_ bytes: TCPPacket, now: Instant) -> [TCPPacket] {
    guard bytes.isSound else {
      if !options.expectsDamage { complaints.append("a packet with a wrong checksum") }
      return []
    }
    let tcp = bytes.tcp
    if tcp.headerLength - 20 + bytes.payload.count > options.maximumSegment {
      complaints.append("a segment above the maximum segment size")
    }
    if tcp.flags.contains(.rst) {
      if tcp.sequence == receiveNext { wasReset = true } else { complaints.append("a reset with a wrong number") }
      deadline = nil
      return []
    }
    if tcp.flags.contains(.syn) { return synArrived(tcp, now: now) }
    guard hasHeardPeer else { return [] }
    if agreedTimestamps {
      guard let stamps = tcp.options.timestamps else {
        complaints.append("a segment without timestamps")
        return []
      }
      if Self.distance(clock(now), stamps.echo) > 0 { complaints.append("an echo of a time that is yet to come") }
      // PAWS (RFC 7323 section 5.3)
      guard Self.distance(recentTimestamp, stamps.value) >= 0 else { return [packet(next, .ack, now: now)] }
      if Self.distance(lastTold, tcp.sequence) <= 0 { recentTimestamp = stamps.value }
    }
    var list: [TCPPacket] = []
    if tcp.flags.contains(.ack) { list += acknowledged(tcp, bytes.payload.isEmpty, now: now) }
    let payload = Array(bytes.payload)
    if !payload.isEmpty || tcp.flags.contains(.fin) {
      list += dataArrived(tcp.sequence, payload, tcp.flags.contains(.fin), now: now)
    } else if tcp.sequence != receiveNext, Int32(bitPattern: tcp.sequence &- receiveNext) < 0 {
      list.append(packet(next, .ack, now: now))
    }
    return list + transmit(now: now)
  }

  private mutating func synArrived(_ tcp: TCPHeader, now: Instant) -> [TCPPacket] {
    if isEstablished { return [packet(next, .ack, now: now)] }
    receiveNext = tcp.sequence &+ 1
    offeredEdge = receiveNext &+ UInt32(min(options.receiveWindow, 65_535))
    lastTold = receiveNext
    hasHeardPeer = true
    peerMaximum = Int(tcp.options.maximumSegmentSize ?? 536)
    agreedTimestamps = options.usesTimestamps && tcp.options.timestamps != nil
    agreedSACK = options.usesSACK && tcp.options.sackPermitted
    if let scale = tcp.options.windowScale, options.windowScale != nil {
      peerScale = scale
      agreedScale = true
    }
    recentTimestamp = tcp.options.timestamps?.value ?? 0
    peerWindow = Int(tcp.window)
    if isClient {
      guard tcp.flags.contains(.ack), tcp.acknowledgement == next else { return [] }
      unacknowledged = next
      isEstablished = true
      deadline = nil
      backoff = 0
      return [packet(next, .ack, now: now)] + transmit(now: now)
    }
    next = options.initialSequence &+ 1
    arm(now)
    return [packet(options.initialSequence, [.syn, .ack], synOptions: true, now: now)]
  }

  private mutating func acknowledged(_ tcp: TCPHeader, _ isBare: Bool, now: Instant) -> [TCPPacket] {
    let number = tcp.acknowledgement
    guard Int32(bitPattern: number &- next) <= 0 else {
      complaints.append("an acknowledgement of what was not sent")
      return []
    }
    for index in 0..<tcp.options.sack.count {
      let (left, right) = tcp.options.sack[index]
      if Int32(bitPattern: right &- next) > 0 || Int32(bitPattern: right &- left) <= 0 {
        complaints.append("a SACK block of what was not sent")
      }
    }
    let window = Int(tcp.window) << Int(agreedScale ? peerScale : 0)
    if !isEstablished, number == options.initialSequence &+ 1 {
      isEstablished = true
      backoff = 0
    }
    if Int32(bitPattern: number &- unacknowledged) > 0 {
      unacknowledged = number
      peerWindow = window
      duplicates = 0
      backoff = 0
      if unacknowledged == next { deadline = nil } else { arm(now) }
      // Partial acknowledgement in recovery: the next hole (RFC 6582).
      if Int32(bitPattern: number &- recover) < 0, unacknowledged != next { return [retransmission(number, now: now)] }
    } else if number == unacknowledged {
      let isDuplicate = isBare && window == peerWindow && unacknowledged != next
      peerWindow = window
      if isDuplicate {
        duplicates += 1
        if duplicates == 3, Int32(bitPattern: unacknowledged &- recover) >= 0 {
          recover = next
          return [retransmission(unacknowledged, now: now)]
        }
      }
    }
    return []
  }

  private mutating func dataArrived(
    _ sequence: UInt32, _ payload: [UInt8], _ isFinish: Bool, now: Instant
  ) -> [TCPPacket] {
    let isInOrder = sequence == receiveNext && early.isEmpty
    let beyond = Self.distance(offeredEdge, sequence &+ UInt32(payload.count))
    if beyond > 0 {
      // Only a probe has leave for that (RFC 9293 section 3.8.6.1). Dropped, and said so.
      if beyond > 1 || payload.count > 1 { complaints.append("data beyond the window") }
      return [packet(next, .ack, now: now)]
    }
    let before = received.count
    early.append((sequence, payload, isFinish))
    var moved = true
    while moved {
      moved = false
      for (index, piece) in early.enumerated() {
        let offset = Int(Int32(bitPattern: receiveNext &- piece.0))
        guard offset >= 0 else { continue }
        if offset < piece.1.count {
          received += piece.1[offset...]
          receiveNext &+= UInt32(piece.1.count - offset)
        }
        if piece.2, receiveNext == piece.0 &+ UInt32(piece.1.count), !receivedFinish {
          receivedFinish = true
          receiveNext &+= 1
        }
        early.remove(at: index)
        moved = true
        break
      }
    }
    read(received.count - before, now: now)
    if options.isDelayingAcknowledgements, isInOrder, !receivedFinish {
      pendingDelayed += 1
      if pendingDelayed < 2 {
        delayedDeadline = now + .milliseconds(40)
        return []
      }
    }
    pendingDelayed = 0
    delayedDeadline = nil
    return [packet(next, .ack, now: now)]
  }

  /// The application reads what has come, where it does not pause.
  private mutating func read(_ count: Int, now: Instant) {
    guard let pause = options.pause else { return }
    sincePause += count
    if resumption == nil, sincePause >= pause.octets {
      sincePause = 0
      resumption = now + pause.time
    }
    if resumption != nil { unread += count }
  }
}
