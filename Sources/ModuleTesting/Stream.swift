/// One direction of the connection of a ``Bench``: what its source has to send, and what has arrived.
struct Stream {
  /// Behind the last octet that has left the source.
  private(set) var next: UInt32
  /// Octets that the source may not send yet, for the window is closed.
  private(set) var waiting: ArraySlice<UInt8> = []
  private var isEnding = false
  private(set) var isEnded = false
  /// The right edge of the window that the source has been offered.
  private var edge: UInt32

  /// What the destination expects next.
  private(set) var expected: UInt32
  private(set) var arrived: [UInt8] = []
  private(set) var isFinished = false
  private(set) var isReset = false
  /// Whether something has arrived that is not acknowledged.
  var isUnacknowledged = false

  /// - Parameter start: the number of the SYN.
  init(start: UInt32) {
    next = start &+ 1
    expected = next
    edge = next
  }

  mutating func append(_ octets: some Collection<UInt8>, isEnded: Bool) {
    waiting += octets
    isEnding = isEnding || isEnded
  }

  /// The octets that the source sends next, and whether the stream ends with them; nil where it may not, or has nothing.
  mutating func take() -> (octets: ArraySlice<UInt8>, isLast: Bool)? {
    let room = max(0, Int(Int32(bitPattern: edge &- next)))
    let octets = waiting.prefix(min(room, Segment.largest))
    waiting = waiting.dropFirst(octets.count)
    let isLast = isEnding && !isEnded && waiting.isEmpty
    guard !octets.isEmpty || isLast else { return nil }
    next &+= UInt32(octets.count) &+ (isLast ? 1 : 0)
    isEnded = isEnded || isLast
    return (octets, isLast)
  }

  /// Takes what the source is told of its window.
  mutating func offer(_ segment: Segment) {
    let right = segment.acknowledgement &+ UInt32(segment.window) << UInt32(Segment.windowScale)
    if Int32(bitPattern: right &- edge) > 0 { edge = right }
  }

  /// Forgets what has arrived.
  mutating func forget() { arrived = [] }

  /// Takes a segment that arrives at the destination; what has arrived before stays as it came.
  mutating func arrive(_ segment: Segment) {
    if segment.flags.contains(.rst) { isReset = true }
    let end = segment.sequence &+ UInt32(segment.payload.count)
    let old = Int(Int32(bitPattern: expected &- segment.sequence))
    guard old >= 0, !isFinished else { return }
    if old < segment.payload.count {
      arrived += segment.payload[old...]
      expected = end
      isUnacknowledged = true
    }
    if segment.flags.contains(.fin), expected == end {
      expected &+= 1
      isFinished = true
      isUnacknowledged = true
    }
  }
}
