/// What an engine wants done beside the verdict: packets to inject, and the bytes of those and of mangled packets.
///
/// The bytes stay where they lie until ``Engine/recycle(_:)``. Whoever drives the engine carries out the verdict first,
/// then the injections in their order.
@safe public struct Output: ~Copyable {
  /// The pieces of all packets, see ``OutgoingPacket/pieces``.
  public private(set) var pieces: [UnsafeRawBufferPointer] = unsafe []
  public private(set) var injections: [Injection] = []
  /// Connections that have become subject to editing since ``Engine/recycle()``.
  public internal(set) var editable: [EditableConnection] = []
  /// What modules have told since ``Engine/recycle()``.
  public private(set) var events: [ModuleEvent] = []
  /// Events that found no room.
  public private(set) var eventsLost = 0
  /// ICMP errors about segments of no connection here, for the other engines where there are any; see
  /// ``Engine/receive(_:at:)``.
  public internal(set) var strayErrors: [StrayError] = []
  /// One reference for each slab that pieces lie in.
  private var slabs: [SlabID] = []
  private var firstPiece = 0
  private var length = 0

  /// Pieces of a packet beyond which they are copied together: the kernel takes 1,024 of a message.
  private static var pieceLimit: Int { 256 }

  /// Events of one batch.
  private static var eventLimit: Int { 4_096 }

  public init() {}

  /// Adds an event, where there is room.
  mutating func add(_ event: ModuleEvent) {
    if events.count < Self.eventLimit { events.append(event) } else { eventsLost += 1 }
  }

  /// Begins a packet.
  mutating func begin() {
    firstPiece = unsafe pieces.count
    length = 0
  }

  /// Adds octets to the packet that was begun.
  mutating func add(_ slab: SlabID, _ start: UInt32, _ end: UInt32, in pool: SlabPool) {
    guard end > start else { return }
    let bytes = unsafe pool.bytes(slab, start, end)
    length += bytes.count
    let last = unsafe pieces.count - 1
    if last > firstPiece, let base = unsafe pieces[last].baseAddress,
      unsafe base + pieces[last].count == bytes.baseAddress, slabs.last == slab
    {
      // The header, first of its packet, stays by itself, so that its checksum can be set at the end.
      unsafe pieces[last] = unsafe UnsafeRawBufferPointer(start: base, count: pieces[last].count + bytes.count)
      return
    }
    pool.retain(slab)
    slabs.append(slab)
    unsafe pieces.append(bytes)
  }

  /// The sum of the octets behind the first piece, for a checksum.
  func payloadSum(initial: UInt64) -> UInt64 {
    var sum = initial
    var offset = 0
    for index in unsafe firstPiece + 1..<max(firstPiece + 1, pieces.count) {
      let piece = unsafe pieces[index]
      sum = Checksum.combine(sum, Checksum.sum(unsafe piece.bindMemory(to: UInt8.self).span), at: offset)
      offset += piece.count
    }
    return sum
  }

  /// Ends the packet that was begun.
  mutating func end(in pool: SlabPool) -> OutgoingPacket {
    if unsafe pieces.count - firstPiece > Self.pieceLimit {
      let slab = pool.allocateReserved(atLeast: length)
      unsafe gather(firstPiece..<pieces.count, into: pool.writable(slab))
      unsafe pieces.removeSubrange(firstPiece...)
      slabs.append(slab)
      unsafe pieces.append(pool.bytes(slab, 0, UInt32(length)))
    }
    return unsafe OutgoingPacket(pieces: firstPiece..<pieces.count, length: length)
  }

  /// Has the packet that was begun injected.
  mutating func inject(
    mark: UInt32, isIPv6: Bool, segmentation: Segmentation? = nil, hasMetAll: Bool = false, in pool: SlabPool
  ) {
    injections.append(
      Injection(
        packet: end(in: pool), mark: mark, isIPv6: isIPv6, segmentation: segmentation, hasMetAll: hasMetAll))
  }

  /// Has the injections from `last` on leave in front of those from `first` on.
  mutating func advanceInjections(from last: Int, to first: Int) {
    guard first < last else { return }
    injections[first...].reverse()
    let moved = injections.count - last
    injections[first..<first + moved].reverse()
    injections[(first + moved)...].reverse()
  }

  /// Notes the connection that the injection at `index` is of.
  mutating func attribute(_ index: Int, to origin: (ConnectionTable.Place, Direction)) {
    injections[index].origin = origin
  }

  /// Sets bits of the mark of the injection at `index`.
  mutating func mark(_ index: Int, with bits: UInt32) { injections[index].mark |= bits }

  mutating func removeInjection(at index: Int) { injections.remove(at: index) }

  /// Has other octets injected in place of those of the injection at `index`.
  mutating func replaceInjection(at index: Int, with slab: SlabID, _ range: Range<UInt32>, in pool: SlabPool) {
    begin()
    add(slab, range.lowerBound, range.upperBound, in: pool)
    injections[index].packet = end(in: pool)
  }

  /// A copy of a packet in one slab of its own, with one reference.
  func copy(_ packet: OutgoingPacket, in pool: SlabPool) -> SlabID {
    let slab = pool.allocateReserved(atLeast: packet.length)
    unsafe gather(packet.pieces, into: pool.writable(slab))
    return slab
  }

  private func gather(_ range: Range<Int>, into target: UnsafeMutableRawBufferPointer) {
    var offset = 0
    for index in range {
      unsafe UnsafeMutableRawBufferPointer(rebasing: target[offset...]).copyMemory(from: pieces[index])
      offset += unsafe pieces[index].count
    }
  }

  /// Forgets everything and gives the references back.
  mutating func clear(in pool: SlabPool) {
    for slab in slabs { pool.release(slab) }
    slabs.removeAll(keepingCapacity: true)
    unsafe pieces.removeAll(keepingCapacity: true)
    injections.removeAll(keepingCapacity: true)
    editable.removeAll(keepingCapacity: true)
    events.removeAll(keepingCapacity: true)
    eventsLost = 0
    strayErrors.removeAll(keepingCapacity: true)
  }
}

/// A connection of whose packets connection tracking may not judge the numbers any more.
public struct EditableConnection: Sendable {
  let place: ConnectionTable.Place
  public let clientAddress: IPAddress
  public let clientPort: UInt16
  public let serverAddress: IPAddress
  public let serverPort: UInt16
}

/// An ICMP error that came to an engine which does not have the connection.
public struct StrayError: Sendable {
  /// The whole packet.
  let packet: [UInt8]
  let metadata: PacketMetadata

  /// Octets of the longest that is handed over: an honest one keeps within the least MTU of IPv6 (RFC 4443 section 2.4).
  static let limit = 1_280

  init(_ packet: Span<UInt8>, _ metadata: PacketMetadata) {
    self.packet = packet.indices.map { packet[$0] }
    self.metadata = metadata
  }
}
