import CNetfilter
import Glibc
import SystemPackage

/// A bound, non-blocking NETLINK_NETFILTER socket, closed when its owner goes away.
struct NetlinkSocket: ~Copyable {
  let descriptor: CInt

  init() throws(NetfilterError) {
    let kind = CInt(SOCK_RAW.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
    let descriptor = try systemCall { socket(AF_NETLINK, kind, NETLINK_NETFILTER) }
      .or("open a netlink socket to netfilter", remedy: "the kernel needs CONFIG_NETFILTER_NETLINK")
    do throws(NetfilterError) {
      _ = try Self.bind(descriptor).or("bind a netlink socket")
      // Otherwise every refused verdict would come back whole, with up to 64 KiB of packet in it.
      _ = try SocketOption.set(descriptor, SOL_NETLINK, NETLINK_CAP_ACK, 1).or("set NETLINK_CAP_ACK")
    } catch {
      close(descriptor)
      throw error
    }
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  private static func bind(_ descriptor: CInt) -> Result<CInt, Errno> {
    var address = sockaddr_nl()
    address.nl_family = sa_family_t(AF_NETLINK)
    return unsafe withUnsafePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        systemCall { unsafe Glibc.bind(descriptor, address, socklen_t(MemoryLayout<sockaddr_nl>.size)) }
      }
    }
  }

  /// Sends one request to the kernel, which has dealt with it when this returns.
  func send(_ message: UnsafeRawPointer, count: Int) -> Result<Int, Errno> {
    systemCall { unsafe Glibc.send(descriptor, message, count, 0) }
  }
}

/// Socket options that hold one integer.
enum SocketOption {
  static func set(_ descriptor: CInt, _ level: CInt, _ option: CInt, _ value: CInt) -> Result<CInt, Errno> {
    var value = value
    return systemCall { unsafe setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<CInt>.size)) }
  }

  static func get(_ descriptor: CInt, _ level: CInt, _ option: CInt) -> Result<CInt, Errno> {
    var value: CInt = 0
    var size = socklen_t(MemoryLayout<CInt>.size)
    return systemCall { unsafe getsockopt(descriptor, level, option, &value, &size) }.map { _ in value }
  }

  /// What the kernel has dropped because there was no room in the socket's receive buffer; 0 where it does not tell.
  static func drops(_ descriptor: CInt) -> UInt64 {
    var numbers = InlineArray<16, UInt32>(repeating: 0)
    var size = socklen_t(MemoryLayout<InlineArray<16, UInt32>>.size)
    let asked = systemCall { unsafe getsockopt(descriptor, SOL_SOCKET, SO_MEMINFO, &numbers, &size) }
    let index = SK_MEMINFO_DROPS
    guard case .success = asked, Int(size) / MemoryLayout<UInt32>.size > index else { return 0 }
    return UInt64(numbers[index])
  }

  /// Sizes a socket buffer past the system's limit where that is allowed, up to the limit where it is not.
  ///
  /// - Returns: octets that the kernel gave, counted as it counts them: with its own overhead.
  static func setBuffer(
    _ descriptor: CInt, forced: CInt, limited: CInt, octets: Int
  ) -> Int {
    let size = CInt(clamping: octets)
    if case .failure = set(descriptor, SOL_SOCKET, forced, size) { _ = set(descriptor, SOL_SOCKET, limited, size) }
    return (try? get(descriptor, SOL_SOCKET, limited).get()).map(Int.init) ?? 0
  }
}
