/// Kinds of TCP options (IANA, TCP Parameters).
enum TCPOptionKind {
  static let end: UInt8 = 0
  static let noOperation: UInt8 = 1
  static let maximumSegmentSize: UInt8 = 2
  static let windowScale: UInt8 = 3
  static let sackPermitted: UInt8 = 4
  static let sack: UInt8 = 5
  static let timestamps: UInt8 = 8
  static let md5Signature: UInt8 = 19
  static let authentication: UInt8 = 29
  static let multipath: UInt8 = 30
  static let fastOpen: UInt8 = 34
  /// Of experiments, told apart by a number of 16 bits (RFC 6994).
  static let experiment: UInt8 = 254
  /// TCP Fast Open among the experiments.
  static let fastOpenExperiment: UInt16 = 0xf989
}

/// The options of a TCP header that the engine acts on.
///
/// Of an option that appears twice the last one counts, as in Linux. An option of a length that its kind does not
/// have is passed over.
struct TCPOptions: Sendable {
  /// Octets (RFC 9293 section 3.7.1).
  var maximumSegmentSize: UInt16?
  /// The shift, 14 at the most (RFC 7323 section 2.3).
  var windowScale: UInt8?
  var sackPermitted = false
  /// RFC 7323 section 3.2.
  var timestamps: (value: UInt32, echo: UInt32)?
  /// Where the timestamps option's kind stands, in octets from the start of the TCP header.
  var timestampsOffset: Int?
  var sack = SACKBlocks()
  /// Where the SACK option's kind stands, in octets from the start of the TCP header.
  var sackOffset: Int?
  /// The subtype of an MPTCP option (RFC 8684 section 3).
  var multipath: UInt8?
  /// TCP-MD5 (RFC 2385) or TCP-AO (RFC 5925): the segment cannot be changed without its receiver noticing.
  var hasAuthentication = false
  /// TCP Fast Open (RFC 7413), also as the experiment that it once was.
  var hasFastOpen = false
  /// An option of length 0 or 1, beyond the header's end, or of a length that its kind does not have.
  var isMalformed = false
}

extension TCPOptions {
  /// Reads the options of the header of `headerLength` octets at `start`, which the caller has found to be there.
  init(_ packet: Span<UInt8>, at start: Int, headerLength: Int) {
    var offset = 20
    while offset < headerLength {
      let kind = packet[start + offset]
      if kind == TCPOptionKind.end { return }
      if kind == TCPOptionKind.noOperation {
        offset += 1
        continue
      }
      guard offset + 1 < headerLength else { break }
      let length = Int(packet[start + offset + 1])
      guard length >= 2, offset + length <= headerLength else { break }
      read(kind, length: length, at: offset, packet, start)
      offset += length
    }
    if offset < headerLength { isMalformed = true }
  }

  private mutating func read(_ kind: UInt8, length: Int, at offset: Int, _ packet: Span<UInt8>, _ start: Int) {
    let value = start + offset + 2
    switch (kind, length) {
    case (TCPOptionKind.maximumSegmentSize, 4): maximumSegmentSize = packet.uint16(at: value)
    case (TCPOptionKind.windowScale, 3): windowScale = min(packet[value], 14)
    case (TCPOptionKind.sackPermitted, 2): sackPermitted = true
    case (TCPOptionKind.sack, 10), (TCPOptionKind.sack, 18), (TCPOptionKind.sack, 26), (TCPOptionKind.sack, 34):
      sack = SACKBlocks()
      for block in 0..<(length - 2) / 8 {
        sack.append(left: packet.uint32(at: value + block * 8), right: packet.uint32(at: value + block * 8 + 4))
      }
      sackOffset = offset
    case (TCPOptionKind.timestamps, 10):
      timestamps = (packet.uint32(at: value), packet.uint32(at: value + 4))
      timestampsOffset = offset
    case (TCPOptionKind.maximumSegmentSize, _), (TCPOptionKind.windowScale, _), (TCPOptionKind.sackPermitted, _),
      (TCPOptionKind.sack, _), (TCPOptionKind.timestamps, _):
      isMalformed = true
    case (TCPOptionKind.md5Signature, _), (TCPOptionKind.authentication, _): hasAuthentication = true
    case (TCPOptionKind.multipath, 3...): multipath = packet[value] >> 4
    case (TCPOptionKind.fastOpen, _): hasFastOpen = true
    case (TCPOptionKind.experiment, 4...):
      if packet.uint16(at: value) == TCPOptionKind.fastOpenExperiment { hasFastOpen = true }
    default: break
    }
  }
}

/// Up to four blocks of a SACK option (RFC 2018 section 3), stored in place.
struct SACKBlocks: Sendable, Equatable {
  /// As many as forty octets of options can hold.
  static let capacity = 4

  private(set) var count = 0
  private var edges = SIMD8<UInt32>()

  var isEmpty: Bool { count == 0 }

  /// Block `index`: the first sequence number that it covers, and the first that it does not.
  subscript(index: Int) -> (left: UInt32, right: UInt32) {
    precondition(index >= 0 && index < count, "no such SACK block")
    return (edges[index * 2], edges[index * 2 + 1])
  }

  /// Adds a block; false where there is no room.
  @discardableResult
  mutating func append(left: UInt32, right: UInt32) -> Bool {
    guard count < Self.capacity else { return false }
    edges[count * 2] = left
    edges[count * 2 + 1] = right
    count += 1
    return true
  }
}
