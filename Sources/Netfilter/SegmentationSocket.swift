import CNetfilter
import Engine
import Glibc
import SystemPackage

/// A packet socket that hands super-packets of TCP to the kernel, which cuts them behind all that it does with them, or leaves
/// that to the network card (packet(7), PACKET_VNET_HDR).
///
/// They go out by the interface `lo`, and so come in by it with the mark that they were given: they are routed, tracked and
/// translated as whatever is forwarded, and find the sockets of this machine as well. A raw socket takes none that is longer than
/// the MTU. A TUN would take them too, but knows no marks.
@safe struct SegmentationSocket: ~Copyable {
  private(set) var sent: UInt64 = 0
  private(set) var failures = ErrnoTally()

  /// The headers of virtio-net and of Ethernet.
  private static let prefixCount = 10 + 14

  /// Why there is none: the kernel has no packet sockets, or the caller may not open one. Every packet then fails.
  let obstacle: NetfilterError?
  private let descriptor: CInt
  private let interface: CInt
  private var batch = MessageBatch(sockaddr_ll())
  private let prefixes: UnsafeMutableRawBufferPointer

  /// - Parameter sendBuffer: octets that may be under way to `lo`.
  init(sendBuffer: Int) {
    var descriptor: CInt = -1
    do throws(NetfilterError) {
      descriptor = try Self.open()
      obstacle = nil
    } catch {
      obstacle = error
    }
    self.descriptor = descriptor
    interface = CInt(bitPattern: NetworkInterface.index(named: "lo") ?? 0)
    _ = SocketOption.setBuffer(descriptor, forced: SO_SNDBUFFORCE, limited: SO_SNDBUF, octets: sendBuffer)
    unsafe prefixes = .allocate(
      byteCount: MessageBatch<sockaddr_ll>.maximumMessages * Self.prefixCount, alignment: 8)
  }

  private static func open() throws(NetfilterError) -> CInt {
    let kind = CInt(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
    // Without a protocol it receives nothing.
    let descriptor = try systemCall { socket(AF_PACKET, kind, 0) }.or("open a packet socket")
    guard case .failure(let error) = SocketOption.set(descriptor, SOL_PACKET, PACKET_VNET_HDR, 1) else {
      return descriptor
    }
    close(descriptor)
    throw NetfilterError("set PACKET_VNET_HDR", error)
  }

  deinit {
    if descriptor >= 0 { close(descriptor) }
    unsafe prefixes.deallocate()
  }

  mutating func append(_ injection: Injection, _ segmentation: Segmentation, pieces: [UnsafeRawBufferPointer]) {
    let range = injection.packet.pieces
    guard range.count < MessageBatch<sockaddr_ll>.maximumPieces else {
      failures.count(.messageTooLong)
      return
    }
    if !batch.hasRoom(pieces: 1 + range.count) { flush() }
    let start = batch.count * Self.prefixCount
    let prefix = unsafe UnsafeMutableRawBufferPointer(rebasing: prefixes[start..<start + Self.prefixCount])
    let type = UInt16(isIPv6: injection.isIPv6).bigEndian
    unsafe Self.write(segmentation, count: injection.packet.length, isIPv6: injection.isIPv6, type, into: prefix)
    var address = sockaddr_ll()
    address.sll_family = UInt16(AF_PACKET)
    address.sll_protocol = type
    address.sll_ifindex = interface
    address.sll_halen = UInt8(ETH_ALEN)
    unsafe batch.append(
      prefix: UnsafeRawBufferPointer(prefix), pieces[range], to: address,
      addressCount: MemoryLayout<sockaddr_ll>.size, mark: injection.mark)
  }

  mutating func flush() {
    guard batch.count > 0 else { return }
    var refused: [Errno] = []
    sent &+= UInt64(batch.send(on: descriptor) { refused.append($1) })
    for error in refused { failures.count(error) }
  }

  /// Writes what stands in front of the packet: `struct virtio_net_hdr`, in the order of the machine, and an Ethernet header from and
  /// to the address of `lo`, which is zero.
  private static func write(
    _ segmentation: Segmentation, count: Int, isIPv6: Bool, _ type: UInt16, into prefix: UnsafeMutableRawBufferPointer
  ) {
    let ethernet = Int(ETH_HLEN)
    var header = virtio_net_hdr()
    header.flags = UInt8(VIRTIO_NET_HDR_F_NEEDS_CSUM)
    if count - segmentation.payloadOffset > segmentation.size {
      header.gso_type = UInt8(isIPv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4)
      header.gso_size = UInt16(segmentation.size)
      header.hdr_len = UInt16(ethernet + segmentation.payloadOffset)
    }
    header.csum_start = UInt16(ethernet + segmentation.transportOffset)
    // Of the field in the TCP header.
    header.csum_offset = 16
    unsafe prefix.initializeMemory(as: UInt8.self, repeating: 0)
    unsafe prefix.storeBytes(of: header, as: virtio_net_hdr.self)
    unsafe prefix.storeBytes(of: type, toByteOffset: prefixCount - 2, as: UInt16.self)
  }
}

extension UInt16 {
  /// The EtherType of an IP version.
  fileprivate init(isIPv6: Bool) { self = UInt16(isIPv6 ? ETH_P_IPV6 : ETH_P_IP) }
}
