import CNetfilter
import Engine
import Glibc
import SystemPackage

/// What one netlink message on a queue socket says.
enum QueueMessage {
  case packet(QueueRecord)
  /// The kernel refused something that was sent before.
  case error(Errno)
  case malformed

  /// Reads the one message of a received datagram.
  ///
  /// Nothing in it is believed before it has been measured: every attribute must lie within the datagram, and every
  /// value within its attribute.
  ///
  /// - Parameter count: octets received into `buffer`.
  init(_ buffer: UnsafeMutableRawBufferPointer, count: Int, isCut: Bool) {
    guard let base = buffer.baseAddress, count <= buffer.count, count >= MemoryLayout<nlmsghdr>.size else {
      self = .malformed
      return
    }
    let header = unsafe base.loadUnaligned(as: nlmsghdr.self)
    // A datagram that was cut has a header that promises more than is there; what is there can still be read.
    let length = isCut ? count : Int(header.nlmsg_len)
    guard length <= count else {
      self = .malformed
      return
    }
    switch Int(header.nlmsg_type) {
    case Int(NLMSG_ERROR) where length >= MemoryLayout<nlmsghdr>.size + MemoryLayout<CInt>.size:
      let number = unsafe base.loadUnaligned(fromByteOffset: MemoryLayout<nlmsghdr>.size, as: CInt.self)
      self = .error(Errno(rawValue: 0 &- number))
    case Int(NFNL_SUBSYS_QUEUE) << 8 | Int(NFQNL_MSG_PACKET.rawValue):
      if let record = unsafe QueueRecord(base, count: length, isCut: isCut) {
        self = .packet(record)
      } else {
        self = .malformed
      }
    default:
      self = .malformed
    }
  }
}

/// A packet message, read.
struct QueueRecord {
  var id: UInt32
  var hook: UInt8
  var etherType: UInt16
  var metadata: PacketMetadata
  /// Where the packet lies, in octets from the beginning of the message.
  var payload: Range<Int>
  var isTruncated: Bool

  /// Reads the attributes of the message of `count` octets at `base`.
  ///
  /// - Returns: nil where there is no packet header, and so no identifier that a verdict could name.
  init?(_ base: UnsafeMutableRawPointer, count: Int, isCut: Bool) {
    var header: nfqnl_msg_packet_hdr?
    var metadata = PacketMetadata()
    var payload = 0..<0
    var isTruncated = isCut
    let start = MemoryLayout<nlmsghdr>.size + MemoryLayout<nfgenmsg>.size
    guard count >= start else { return nil }
    // Absent when it would be zero: the kernel then vouches for the checksum.
    var packetInfo: UInt32 = 0

    unsafe Self.forEachAttribute(base + start, count: count - start) { type, value in
      switch type {
      case NFQA_PACKET_HDR where value.count >= MemoryLayout<nfqnl_msg_packet_hdr>.size:
        header = unsafe value.loadUnaligned(as: nfqnl_msg_packet_hdr.self)
      case NFQA_MARK where value.count >= 4:
        metadata.mark = unsafe UInt32(bigEndian: value.loadUnaligned(as: UInt32.self))
      case NFQA_IFINDEX_INDEV where value.count >= 4:
        metadata.inPort = unsafe UInt32(bigEndian: value.loadUnaligned(as: UInt32.self))
      case NFQA_HWADDR where value.count >= MemoryLayout<nfqnl_msg_packet_hw>.size:
        let hardware = unsafe value.loadUnaligned(as: nfqnl_msg_packet_hw.self)
        guard UInt16(bigEndian: hardware.hw_addrlen) == 6 else { return }
        // The address is left-justified in eight octets.
        let octets = unsafe UInt64(bigEndian: value.loadUnaligned(fromByteOffset: 4, as: UInt64.self))
        metadata.ethernetSource = octets >> 16
      case NFQA_VLAN:
        metadata.vlan = unsafe Self.vlanIdentifier(value)
      case NFQA_SKB_INFO where value.count >= 4:
        packetInfo = unsafe UInt32(bigEndian: value.loadUnaligned(as: UInt32.self))
      case NFQA_CAP_LEN:
        isTruncated = true
      case NFQA_PAYLOAD:
        let offset = unsafe UnsafeRawPointer(value.baseAddress!) - UnsafeRawPointer(base)
        payload = offset..<(offset + value.count)
      default:
        break
      }
    }

    guard let header else { return nil }
    id = UInt32(bigEndian: header.packet_id)
    hook = header.hook
    etherType = UInt16(bigEndian: header.hw_protocol)
    metadata.isGSO = packetInfo & UInt32(NFQA_SKB_GSO) != 0
    // The kernel sets NOTVERIFIED only where the checksum is neither still to be computed nor found right, and only in
    // the hooks where the packet may come from outside (net/netfilter/nfnetlink_queue.c, nfqnl_put_packet_info).
    metadata.isChecksumTrusted =
      packetInfo & UInt32(NFQA_SKB_CSUMNOTREADY) != 0 || packetInfo & UInt32(NFQA_SKB_CSUM_NOTVERIFIED) == 0
    // A super-packet of TCP that a verdict has changed counts as one without a checksum, and whichever way it leaves the machine
    // it is set up to have one computed by the card, or for each of its segments (net/ipv4/tcp_offload.c, tcp4_gso_segment).
    // Not so where this machine may take it in itself.
    metadata.isSummedLater = metadata.isGSO && Self.leavingHooks.contains(hook)
    self.metadata = metadata
    self.payload = payload
    self.isTruncated = isTruncated
  }

  /// FORWARD, OUTPUT and POSTROUTING, which have the same numbers for IPv4, IPv6 and bridges.
  private static var leavingHooks: ClosedRange<UInt8> { 2...4 }

  /// NFQA_VLAN is a nest of the protocol and the tag control information; its low 12 bits are the identifier.
  private static func vlanIdentifier(_ nest: UnsafeRawBufferPointer) -> UInt16? {
    guard let base = nest.baseAddress else { return nil }
    var identifier: UInt16?
    unsafe forEachAttribute(base, count: nest.count) { type, value in
      guard type.rawValue == NFQA_VLAN_TCI.rawValue, value.count >= 2 else { return }
      identifier = unsafe UInt16(bigEndian: value.loadUnaligned(as: UInt16.self)) & 0x0fff
    }
    return identifier
  }

  /// Calls `body` for every attribute that lies whole within `count` octets: first measured, then stepped over.
  @inline(__always)
  private static func forEachAttribute(
    _ base: UnsafeRawPointer, count: Int, _ body: (nfqnl_attr_type, UnsafeRawBufferPointer) -> Void
  ) {
    let end = unsafe base + count
    var attribute = unsafe base.assumingMemoryBound(to: nlattr.self)
    while unsafe mnl_attr_ok(attribute, CInt(clamping: end - UnsafeRawPointer(attribute))) {
      unsafe body(
        nfqnl_attr_type(UInt32(mnl_attr_get_type(attribute))),
        UnsafeRawBufferPointer(
          start: mnl_attr_get_payload(attribute), count: Int(mnl_attr_get_payload_len(attribute))))
      unsafe attribute = UnsafePointer(mnl_attr_next(attribute))
    }
  }
}
