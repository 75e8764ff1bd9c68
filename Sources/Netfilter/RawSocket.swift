import CNetfilter
import Engine
import Glibc
import SystemPackage

/// A raw socket of one IP version that takes packets with their headers, and sends several in one call.
@safe struct RawSocket: ~Copyable {
  private(set) var sent: UInt64 = 0
  private(set) var failures = ErrnoTally()
  /// Packets longer than the MTU of their interface, and that MTU.
  var refusals: [Refusal] = []

  /// Packets in one sendmmsg.
  private static let maximumMessages = 64
  /// UIO_MAXIOV, of one packet; a packet has that many pieces at the most.
  private static let maximumPieces = 1024
  /// CMSG_SPACE(sizeof(int)) on 64-bit systems.
  private static let controlSize = 24

  /// -1 where the kernel does not have this IP version: every packet then fails.
  private let descriptor: CInt
  private let isIPv6: Bool
  private let messages: UnsafeMutableBufferPointer<mmsghdr>
  private let vectors: UnsafeMutableBufferPointer<iovec>
  private let addresses: UnsafeMutableBufferPointer<sockaddr_in6>
  private let controls: UnsafeMutableRawBufferPointer
  /// What waits, as it was given.
  private var injections: [Injection] = []
  private var count = 0
  private var vectorsUsed = 0

  init(isIPv6: Bool, sendBuffer: Int) throws(NetfilterError) {
    let kind = CInt(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
    // IPPROTO_RAW implies that the caller writes the IP header, for both versions (raw(7)), and receives nothing.
    let opened = systemCall { socket(isIPv6 ? AF_INET6 : AF_INET, kind, CInt(IPPROTO_RAW)) }
    if isIPv6, case .failure(.addressFamilyNotSupported) = opened {
      descriptor = -1
    } else {
      descriptor = try opened.or(
        "open a raw IPv\(isIPv6 ? 6 : 4) socket", remedy: "run as root, or with CAP_NET_RAW and CAP_NET_ADMIN")
    }
    self.isIPv6 = isIPv6
    _ = SocketOption.setBuffer(descriptor, forced: SO_SNDBUFFORCE, limited: SO_SNDBUF, octets: sendBuffer)
    // The kernel then says what the MTU is of an interface that a packet is too long for.
    _ =
      isIPv6
      ? SocketOption.set(descriptor, CInt(IPPROTO_IPV6), IPV6_RECVERR, 1)
      : SocketOption.set(descriptor, CInt(IPPROTO_IP), IP_RECVERR, 1)
    unsafe messages = .allocate(capacity: Self.maximumMessages)
    unsafe vectors = .allocate(capacity: 2 * Self.maximumPieces)
    unsafe addresses = .allocate(capacity: Self.maximumMessages)
    unsafe controls = .allocate(byteCount: Self.maximumMessages * Self.controlSize, alignment: 8)
    unsafe messages.initialize(repeating: mmsghdr())
    unsafe addresses.initialize(repeating: sockaddr_in6())
    unsafe controls.initializeMemory(as: UInt8.self, repeating: 0)
  }

  deinit {
    if descriptor >= 0 { close(descriptor) }
    unsafe messages.deallocate()
    unsafe vectors.deallocate()
    unsafe addresses.deallocate()
    unsafe controls.deallocate()
  }

  mutating func append(_ injection: Injection, pieces: [UnsafeRawBufferPointer]) {
    guard descriptor >= 0 else {
      failures.count(.addressFamilyNotSupported)
      return
    }
    let range = injection.packet.pieces
    guard range.count <= Self.maximumPieces else {
      failures.count(.messageTooLong)
      return
    }
    if unsafe count == Self.maximumMessages || vectorsUsed + range.count > vectors.count { flush() }
    guard unsafe setDestination(of: count, from: pieces[range]) else {
      failures.count(.invalidArgument)
      return
    }
    let first = vectorsUsed
    for index in range {
      unsafe vectors[vectorsUsed] = iovec(
        iov_base: UnsafeMutableRawPointer(mutating: pieces[index].baseAddress), iov_len: pieces[index].count)
      vectorsUsed += 1
    }
    // SO_MARK as a control message marks this packet alone.
    let control = unsafe controls.baseAddress! + count * Self.controlSize
    var controlHeader = cmsghdr()
    controlHeader.cmsg_len = MemoryLayout<cmsghdr>.size + MemoryLayout<UInt32>.size
    controlHeader.cmsg_level = SOL_SOCKET
    controlHeader.cmsg_type = SO_MARK
    unsafe control.storeBytes(of: controlHeader, as: cmsghdr.self)
    unsafe control.storeBytes(of: injection.mark, toByteOffset: MemoryLayout<cmsghdr>.size, as: UInt32.self)
    var header = unsafe msghdr()
    unsafe header.msg_name = UnsafeMutableRawPointer(addresses.baseAddress! + count)
    unsafe header.msg_namelen = socklen_t(isIPv6 ? MemoryLayout<sockaddr_in6>.size : MemoryLayout<sockaddr_in>.size)
    unsafe header.msg_iov = vectors.baseAddress! + first
    unsafe header.msg_iovlen = range.count
    unsafe header.msg_control = control
    unsafe header.msg_controllen = Self.controlSize
    unsafe messages[count].msg_hdr = header
    injections.append(injection)
    count += 1
  }

  mutating func flush() {
    var start = 0
    while start < count {
      let descriptor = descriptor
      let number = UInt32(count - start)
      let first = unsafe messages.baseAddress! + start
      switch systemCall({ unsafe sendmmsg(descriptor, first, number, CInt(MSG_NOSIGNAL | MSG_DONTWAIT)) }) {
      case .success(let taken):
        sent &+= UInt64(taken)
        start += Int(taken)
      case .failure(let error):
        // An error is of the first packet: those before an error are reported as taken.
        failures.count(error)
        if error == .messageTooLong, let mtu = reportedMTU() {
          refusals.append(Refusal(injection: injections[start], mtu: mtu))
        }
        start += 1
      }
    }
    count = 0
    injections.removeAll(keepingCapacity: true)
    vectorsUsed = 0
  }

  /// The MTU of the interface that the last packet was too long for, from the socket's error queue (ip(7), IP_RECVERR); nil
  /// where the packet did get further, and was answered with an ICMP error.
  private func reportedMTU() -> Int? {
    var mtu: Int?
    unsafe withUnsafeTemporaryAllocation(byteCount: 256, alignment: 8) { control in
      while true {
        var header = unsafe msghdr()
        unsafe header.msg_control = control.baseAddress
        unsafe header.msg_controllen = control.count
        let descriptor = descriptor
        let received = systemCall {
          unsafe recvmsg(descriptor, &header, CInt(MSG_ERRQUEUE | MSG_DONTWAIT))
        }
        guard case .success = received else { return }
        let size = MemoryLayout<cmsghdr>.size + MemoryLayout<sock_extended_err>.size
        guard unsafe header.msg_controllen >= size else { continue }
        let report = unsafe control.loadUnaligned(
          fromByteOffset: MemoryLayout<cmsghdr>.size, as: sock_extended_err.self)
        if report.ee_errno == UInt32(EMSGSIZE), report.ee_origin == UInt8(SO_EE_ORIGIN_LOCAL) {
          mtu = Int(report.ee_info)
        }
      }
    }
    return mtu
  }

  /// Reads the destination out of the packet's header, wherever its pieces are cut: the kernel routes by it.
  ///
  /// - Returns: false where the packet is shorter than an IP header.
  private func setDestination(of index: Int, from pieces: ArraySlice<UnsafeRawBufferPointer>) -> Bool {
    let field = isIPv6 ? 24..<40 : 16..<20
    var address = sockaddr_in6()
    let found = unsafe withUnsafeMutableBytes(of: &address) { address in
      let target =
        isIPv6
        ? MemoryLayout<sockaddr_in6>.offset(of: \.sin6_addr)! : MemoryLayout<sockaddr_in>.offset(of: \.sin_addr)!
      var offset = 0
      for index in unsafe pieces.indices {
        let piece = unsafe pieces[index]
        let part = field.clamped(to: offset..<(offset + piece.count))
        for position in part {
          unsafe address[target + position - field.lowerBound] = piece[position - offset]
        }
        offset += piece.count
        if offset >= field.upperBound { return true }
      }
      return false
    }
    // The family stands at the same place in both kinds of address.
    address.sin6_family = sa_family_t(isIPv6 ? AF_INET6 : AF_INET)
    unsafe addresses[index] = address
    return found
  }
}
