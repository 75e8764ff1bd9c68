import ModuleTesting

/// One direction of a connection as its two ends see it: what the source sends, and what a plain receiver makes of what
/// arrives.
struct Path {
  /// The number behind the source's SYN.
  let start: UInt32
  let salt: UInt32

  // The source, in octets from `start`.
  var sent = 0
  var acknowledged = 0
  var offered: Int
  var sentFinish = false

  // The destination.
  var received: [UInt8] = []
  var receivedFinish = false
  private var early: [(Int, [UInt8], Bool)] = []
  /// The right edge of the window announced.
  var edge: Int
  var isReset = false

  init(start: UInt32, salt: UInt32, window: Int) {
    self.start = start
    self.salt = salt
    offered = window
    edge = window
  }

  /// The source's octets: few values, so that editors have work.
  func octets(_ range: Range<Int>) -> [UInt8] {
    range.map { index in
      var mixed = UInt32(truncatingIfNeeded: index) &* 2_654_435_761 ^ salt
      mixed ^= mixed >> 15
      return UInt8(mixed & 7)
    }
  }

  func offset(_ number: UInt32) -> Int { Int(Int32(bitPattern: number &- start)) }
  func number(_ offset: Int) -> UInt32 { start &+ UInt32(truncatingIfNeeded: offset) }

  /// RCV.NXT of the destination.
  var next: Int { received.count + (receivedFinish ? 1 : 0) }

  /// A packet reaches the destination (RFC 9293 section 3.10.7.4; the window as Linux checks it).
  mutating func deliver(_ packet: Packet) {
    guard packet.isWellFormed, !packet.flags.contains(.syn), !receivedFinish else { return }
    let at = offset(packet.sequence)
    if packet.flags.contains(.rst) {
      isReset = isReset || at == next
      return
    }
    let payload = Array(packet.payload)
    guard !isReset, at <= edge, !payload.isEmpty || packet.flags.contains(.fin) else { return }
    early.append((at, payload, packet.flags.contains(.fin)))
    var isMoving = true
    while isMoving, !receivedFinish {
      isMoving = false
      for (index, (at, payload, isFinish)) in early.enumerated() where at <= received.count {
        early.remove(at: index)
        isMoving = true
        let skip = received.count - at
        if skip < payload.count { received += payload[skip...] }
        if isFinish, at + payload.count == received.count { receivedFinish = true }
        break
      }
    }
  }

  /// An acknowledgement reaches the source.
  mutating func acknowledge(_ packet: Packet) {
    let at = offset(packet.acknowledgement)
    guard packet.flags.contains(.ack), at >= 0, at <= sent + (sentFinish ? 1 : 0) else { return }
    acknowledged = max(acknowledged, at)
    offered = max(offered, at + Int(packet.window))
  }
}
