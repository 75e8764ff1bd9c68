/// A TCP segment that arrived, and where its bytes lie.
struct Arrival {
  let ip: IPHeader
  let tcp: TCPHeader
  let slab: SlabID
  /// Where the packet begins in its slab.
  let start: UInt32
  /// Where its payload begins in its slab.
  let payloadStart: UInt32
  let payloadCount: Int
  let metadata: PacketMetadata

  var headers: PacketHeaders {
    PacketHeaders(ip: ip, transport: .tcp(tcp), payloadOffset: headerCount, payloadLength: payloadCount)
  }
  var sequence: InSequence { InSequence(tcp.sequence) }
  /// The number of its first octet of payload; a SYN has one of its own in front of it.
  var payloadSequence: InSequence { sequence + (tcp.flags.contains(.syn) ? 1 : 0) }
  /// Whether it is a SYN, or the answer to one. With RST it is a reset and nothing else: ends look at RST before SYN in every
  /// state (RFC 9293 section 3.10.7).
  var isSYN: Bool { tcp.flags.contains(.syn) && !tcp.flags.contains(.rst) }
  var isFinish: Bool { tcp.flags.contains(.fin) }
  /// Octets of IP and TCP header.
  var headerCount: Int { Int(payloadStart - start) }
  /// Behind its last octet, FIN included.
  var sequenceEnd: InSequence { sequence + payloadCount + (isFinish ? 1 : 0) }
}
