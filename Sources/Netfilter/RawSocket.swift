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

  /// -1 where the kernel does not have this IP version: every packet then fails.
  private let descriptor: CInt
  private let isIPv6: Bool
  private var batch = MessageBatch(sockaddr_in6())
  /// What waits, as it was given.
  private var injections: [Injection] = []

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
  }

  deinit {
    if descriptor >= 0 { close(descriptor) }
  }

  mutating func append(_ injection: Injection, pieces: [UnsafeRawBufferPointer]) {
    guard descriptor >= 0 else {
      failures.count(.addressFamilyNotSupported)
      return
    }
    let range = injection.packet.pieces
    guard range.count <= MessageBatch<sockaddr_in6>.maximumPieces else {
      failures.count(.messageTooLong)
      return
    }
    guard let address = unsafe destination(in: pieces[range]) else {
      failures.count(.invalidArgument)
      return
    }
    if !batch.hasRoom(pieces: range.count) { flush() }
    unsafe batch.append(
      pieces[range], to: address,
      addressCount: isIPv6 ? MemoryLayout<sockaddr_in6>.size : MemoryLayout<sockaddr_in>.size, mark: injection.mark)
    injections.append(injection)
  }

  mutating func flush() {
    guard batch.count > 0 else { return }
    let descriptor = descriptor
    var refused: [(index: Int, error: Errno, mtu: Int?)] = []
    let taken = batch.send(on: descriptor) { index, error in
      refused.append((index, error, error == .messageTooLong ? Self.reportedMTU(descriptor) : nil))
    }
    sent &+= UInt64(taken)
    for (index, error, mtu) in refused {
      failures.count(error)
      if let mtu { refusals.append(Refusal(injection: injections[index], mtu: mtu)) }
    }
    injections.removeAll(keepingCapacity: true)
  }

  /// The MTU of the interface that the last packet was too long for, from the socket's error queue (ip(7), IP_RECVERR); nil
  /// where the packet did get further, and was answered with an ICMP error.
  private static func reportedMTU(_ descriptor: CInt) -> Int? {
    var mtu: Int?
    unsafe withUnsafeTemporaryAllocation(byteCount: 256, alignment: 8) { control in
      while true {
        var header = unsafe msghdr()
        unsafe header.msg_control = control.baseAddress
        unsafe header.msg_controllen = control.count
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

  /// The destination in the packet's header, wherever its pieces are cut: the kernel routes by it. Nil where the packet is shorter
  /// than an IP header.
  private func destination(in pieces: ArraySlice<UnsafeRawBufferPointer>) -> sockaddr_in6? {
    let field = isIPv6 ? 24..<40 : 16..<20
    var address = sockaddr_in6()
    // The family stands at the same place in both kinds of address.
    address.sin6_family = sa_family_t(isIPv6 ? AF_INET6 : AF_INET)
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
    return found ? address : nil
  }
}
