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
    /// The congestion window's stand-in grows from here.
    var isDelayingAcknowledgements = false
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
  private var peerStart: UInt32 = 0
  private var receiveNext: UInt32 = 0
  private var early: [(UInt32, [UInt8], Bool)] = []
  private var sacked: [(UInt32, UInt32)] = []
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
  private var offeredEdge: UInt32 = 0
  private var pendingDelayed = 0
  private var delayedDeadline: Instant?

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

  var timer: Instant? {
    guard let delayedDeadline else { return deadline }
    return deadline.map { min($0, delayedDeadline) } ?? delayedDeadline
  }

  // MARK: Sending

  private func packet(
    _ sequence: UInt32, _ flags: TCPFlags, payload: [UInt8] = [], synOptions: Bool = false, now: Instant
  ) -> TCPPacket {
    var list: [UInt8] = []
    if synOptions {
      list += [2, 4, UInt8(options.maximumSegment >> 8), UInt8(options.maximumSegment & 255)]
      if let scale = options.windowScale { list += [3, 3, scale] }
      if options.usesSACK { list += [4, 2] }
    }
    let clock = UInt32(truncatingIfNeeded: now.nanoseconds / 1_000_000) &+ (isClient ? 5_000 : 900_000)
    if synOptions ? options.usesTimestamps : agreedTimestamps {
      list += [1, 1, 8, 10] + Self.octets(clock) + Self.octets(recentTimestamp)
    }
    if agreedSACK, !early.isEmpty, !synOptions {
      let blocks = earlyBlocks.prefix(agreedTimestamps ? 3 : 4)
      list += [1, 1, 5, UInt8(2 + 8 * blocks.count)] + blocks.flatMap { Self.octets($0.0) + Self.octets($0.1) }
    }
    return TCPPacket(
      from: me, to: peer, sequence: sequence, acknowledgement: flags.contains(.ack) ? receiveNext : 0, flags: flags,
      window: UInt16(clamping: synOptions ? window : window >> Int(agreedScale ? options.windowScale ?? 0 : 0)),
      options: list, payload: payload)
  }

  private var window: Int { max(0, options.receiveWindow - early.reduce(0) { $0 + $1.1.count }) }

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
    let segment = min(options.maximumSegment, peerMaximum) - (agreedTimestamps ? 12 : 0)
    while true {
      let offset = Int(next &- options.initialSequence &- 1)
      let flight = Int(next &- unacknowledged)
      guard offset <= outgoing.count else { break }
      let room = min(peerWindow, options.sendWindow) - flight
      let count = min(outgoing.count - offset, room, segment * options.segmentsAtOnce)
      if offset == outgoing.count {
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
    if next != unacknowledged, deadline == nil { arm(now) }
    if !list.isEmpty {
      pendingDelayed = 0
      delayedDeadline = nil
    }
    return list
  }

  private func retransmission(_ sequence: UInt32, now: Instant) -> TCPPacket {
    let offset = Int(sequence &- options.initialSequence &- 1)
    if offset >= outgoing.count { return packet(sequence, [.fin, .ack], now: now) }
    let segment = min(options.maximumSegment, peerMaximum) - (agreedTimestamps ? 12 : 0)
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
    guard let due = deadline, due <= now, !wasReset else { return list }
    guard unacknowledged != next || peerWindow == 0 else {
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
    if unacknowledged == next { return list + [packet(next &- 1, .ack, now: now)] }
    return list + [retransmission(unacknowledged, now: now)]
  }

  // MARK: Receiving

  mutating func receive(_ bytes: TCPPacket, now: Instant) -> [TCPPacket] {
    guard bytes.isChecksumRight else {
      complaints.append("a packet with a wrong checksum")
      return []
    }
    let tcp = bytes.tcp
    if tcp.flags.contains(.rst) {
      if tcp.sequence == receiveNext { wasReset = true } else { complaints.append("a reset with a wrong number") }
      return []
    }
    if tcp.flags.contains(.syn) { return synArrived(tcp, now: now) }
    guard receiveNext != 0 else { return [] }
    if agreedTimestamps {
      guard let stamps = tcp.options.timestamps else {
        complaints.append("a segment without timestamps")
        return []
      }
      if Int32(bitPattern: stamps.value &- recentTimestamp) > 0 { recentTimestamp = stamps.value }
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
    peerStart = tcp.sequence
    receiveNext = tcp.sequence &+ 1
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
    if Int32(bitPattern: sequence &+ UInt32(payload.count) &- receiveNext) > options.receiveWindow + 1 {
      // Beyond the window: dropped, and said so.
      return [packet(next, .ack, now: now)]
    }
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
}
