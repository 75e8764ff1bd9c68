import Engine
import Glibc
import SystemPackage

/// Sends whole IP packets of the engine's own through the kernel's routing.
///
/// Single ones go through its OUTPUT and POSTROUTING hooks, by raw sockets; those that it is to cut come in by the interface
/// `lo` and go through all hooks of what is forwarded, see ``SegmentationSocket``.
///
/// Every packet carries the mark its injection names. Nothing here is fatal: what the kernel does not take is counted, and
/// lost as on any link. A packet longer than the interface's MTU is refused (EMSGSIZE), see ``takeRefusals()``; one whose
/// segments are too long for their route is answered with an ICMP error to its source.
///
/// Packets of one family leave in the order of ``append(_:pieces:)``. To keep an order between them and verdicts, flush
/// the one before appending to the other.
public struct Injector: ~Copyable {
  private var ipv4: RawSocket
  private var ipv6: RawSocket
  private var segmentation: SegmentationSocket
  /// Why packets that are to be cut cannot be injected, of one version or both.
  public let obstacles: [Obstacle]

  /// Why packets of a version of IP that are to be cut cannot be injected.
  public struct Obstacle: Sendable {
    public let isIPv6: Bool
    public let reason: String
  }

  /// - Parameter sendBuffer: octets that may wait for an interface, for each socket.
  /// - Throws: where the caller may not open raw sockets.
  public init(sendBuffer: Int = 8 << 20) throws(NetfilterError) {
    let ipv4 = try RawSocket(isIPv6: false, sendBuffer: sendBuffer)
    ipv6 = try RawSocket(isIPv6: true, sendBuffer: sendBuffer)
    self.ipv4 = ipv4
    segmentation = SegmentationSocket(sendBuffer: sendBuffer)
    if let obstacle = segmentation.obstacle {
      obstacles = [false, true].map { Obstacle(isIPv6: $0, reason: obstacle.description) }
    } else {
      obstacles = Self.isStrict ? [Obstacle(isIPv6: false, reason: Self.strictFilter)] : []
    }
  }

  /// The versions of IP of which packets are taken that the kernel is to cut.
  public var superPackets: (ipv4: Bool, ipv6: Bool) {
    (!obstacles.contains { !$0.isIPv6 }, !obstacles.contains { $0.isIPv6 })
  }

  /// Whether the kernel takes in nothing by `lo` whose source it does not reach by `lo`; what there is of IPv6 is in rules.
  private static var isStrict: Bool {
    let filters = ["all", "lo"].map { (try? Sysctl(name: "net.ipv4.conf.\($0).rp_filter").number()) ?? 0 }
    return filters.max() == 1
  }

  private static let strictFilter = "rp_filter is strict at lo; net.ipv4.conf.lo.rp_filter=2 makes it loose there"

  /// Packets that the kernel took.
  public var sent: UInt64 { ipv4.sent &+ ipv6.sent &+ segmentation.sent }

  /// Packets that the kernel did not take, by error. EMSGSIZE is a packet longer than the MTU, ENETUNREACH one without a
  /// route, ENOBUFS and EAGAIN a full interface, EPERM one that a rule in OUTPUT dropped.
  public var failures: ErrnoTally {
    var all = ipv4.failures
    all.add(ipv6.failures)
    all.add(segmentation.failures)
    return all
  }

  /// The packets that were longer than the MTU of their interface, since the last call. One that is too long for its route
  /// alone is answered with an ICMP error to its source instead.
  public mutating func takeRefusals() -> [Refusal] {
    guard !ipv4.refusals.isEmpty || !ipv6.refusals.isEmpty else { return [] }
    defer {
      ipv4.refusals = []
      ipv6.refusals = []
    }
    return ipv4.refusals + ipv6.refusals
  }

  /// Adds a packet, which leaves with the next flush, or before when many wait.
  ///
  /// - Parameter pieces: what the packet's pieces count into. The octets stay where they are until they are sent, so they
  ///   must live until ``flush()``.
  public mutating func append(_ injection: Injection, pieces: [UnsafeRawBufferPointer]) {
    if let segmentation = injection.segmentation {
      // Those in front of it leave first.
      ipv4.flush()
      ipv6.flush()
      unsafe self.segmentation.append(injection, segmentation, pieces: pieces)
      return
    }
    segmentation.flush()
    if injection.isIPv6 {
      unsafe ipv6.append(injection, pieces: pieces)
    } else {
      unsafe ipv4.append(injection, pieces: pieces)
    }
  }

  /// Sends everything that waits.
  public mutating func flush() {
    ipv4.flush()
    ipv6.flush()
    segmentation.flush()
  }
}

/// A packet that is longer than the MTU of the interface it was to leave by.
public struct Refusal: Sendable {
  public let injection: Injection
  /// Octets, IP header included.
  public let mtu: Int
}
