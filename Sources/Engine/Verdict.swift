/// What becomes of a packet that arrived. ``Engine/receive(_:packet:metadata:at:into:)`` returns exactly one.
public enum Verdict {
  /// It goes on as it is. `mark` replaces its mark where one is given.
  case accept(mark: UInt32?)
  /// It ends here; whatever is left of it has been taken over, or is injected.
  case drop
  /// It goes on with these bytes in place of its own.
  case mangle(OutgoingPacket, mark: UInt32?)

  /// The mark in the place of the packet's own, where one is given.
  var mark: UInt32? {
    switch self {
    case .accept(let mark), .mangle(_, let mark): mark
    case .drop: nil
    }
  }

  /// The same with `mark`, where that is given.
  func marked(_ mark: UInt32?) -> Verdict {
    guard let mark else { return self }
    return switch self {
    case .accept: .accept(mark: mark)
    case .drop: .drop
    case .mangle(let packet, _): .mangle(packet, mark: mark)
    }
  }
}

/// A whole IP packet made of pieces that lie where they are, to be gathered on the way out.
public struct OutgoingPacket: Sendable {
  /// The pieces, as indices of ``Output/pieces``.
  public let pieces: Range<Int>
  /// Octets in all.
  public let length: Int

  /// Octets that a mangled packet may have: the length of a netlink attribute has 16 bits and counts its own four octets.
  public static let limit = 65_531
}

/// A packet that the engine sends of its own accord.
public struct Injection: Sendable {
  public internal(set) var packet: OutgoingPacket
  /// The mark it must carry, so that it is not queued again.
  public internal(set) var mark: UInt32
  public let isIPv6: Bool
  /// How the kernel is to cut it; nil where it is a packet by itself.
  public let segmentation: Segmentation?
  /// Whether it has met all modules that it has to, as an answer to a packet that was refused has, and a packet that has waited for
  /// one on a thread.
  let hasMetAll: Bool
  /// The connection that it is of, and which way it goes.
  var origin: (place: ConnectionTable.Place, direction: Direction)?
}

/// How the kernel is to cut an injected packet of TCP into segments (GSO). It computes their checksums too: that of the packet
/// covers the pseudo-header alone, and is not complemented.
public struct Segmentation: Sendable {
  /// Octets of payload of each segment but the last; a packet with no more is not cut.
  public let size: Int
  /// Where the TCP header starts, in octets from the start of the packet.
  public let transportOffset: Int
  /// Where the payload starts.
  public let payloadOffset: Int
}

/// What is known of a packet beside its bytes.
public struct PacketMetadata: Sendable {
  /// The interface it came in on, by index; 0 where not known.
  public var inPort: UInt32 = 0
  /// The netfilter mark.
  public var mark: UInt32 = 0
  /// The link-layer source, in the low 48 bits.
  public var ethernetSource: UInt64?
  /// The VLAN identifier, 12 bits.
  public var vlan: UInt16?
  /// Whether the kernel will still cut it into segments.
  public var isGSO = false
  /// Whether its transport checksum can be relied on without looking: not yet computed, or verified by the kernel.
  public var isChecksumTrusted = false
  /// Whether the kernel computes the checksum of TCP anew as the packet leaves, whatever is in its field: of a super-packet on its
  /// way to an interface.
  public var isSummedLater = false
  /// Whether NAT is still to look at it: in PREROUTING and OUTPUT.
  public var isBeforeTranslation = false

  public init() {}
}
