import CNetfilter
import Glibc
import SystemPackage

/// Keeps the kernel's connection tracking from judging the sequence numbers of connections that are edited.
///
/// It sees the data of one side and the acknowledgements of the other, would call them INVALID, and a NAT would then
/// let them through untranslated. Its be-liberal flag forgives that, set for one connection through ctnetlink, or, where
/// the kernel has no ctnetlink, for all by the sysctl `nf_conntrack_tcp_be_liberal`.
public struct ConnectionTracking: ~Copyable {
  /// How connections are made liberal here.
  public enum Means: Sendable, Equatable {
    /// Each by itself, through ctnetlink.
    case connection
    /// All by the sysctl, which is set.
    case sysctl
    /// Not at all, for this reason. Where nothing tracks connections, nothing is lost by it.
    case none(String)
  }

  /// The directions in which connection tracking knows a connection by the addresses that the engine sees.
  public struct Directions: OptionSet, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Packets with the tuple as it was given.
    public static let forward = Directions(rawValue: 1)
    /// Packets with the tuple reversed.
    public static let backward = Directions(rawValue: 2)
  }

  public let means: Means
  /// Refusals other than that the kernel does not know the tuple, by error.
  public private(set) var failures = ErrnoTally()

  private let socket: NetlinkSocket?
  private var sequence: UInt32 = 0

  /// Finds out what this kernel can do, in the caller's network namespace, and sets the sysctl where that is all it can.
  public init() {
    do throws(NetfilterError) {
      let socket = try NetlinkSocket()
      // A tuple that no connection can have: the answer that there is none proves that somebody answers.
      let nobody = ConnectionTuple(isIPv6: false, source: 0, sourcePort: 0, destination: 0, destinationPort: 0)
      guard Self.setLiberal(nobody, sequence: 0, socket) == .noSuchFileOrDirectory else {
        throw NetfilterError("reach connection tracking through ctnetlink", .notSupported)
      }
      self.socket = consume socket
      means = .connection
    } catch let refusal {
      self.socket = nil
      do throws(NetfilterError) {
        if !(try Sysctl.tcpBeLiberal.value()) { try Sysctl.tcpBeLiberal.set(true) }
        means = .sysctl
      } catch {
        means = .none("\(refusal); \(error)")
      }
    }
  }

  /// Makes one TCP connection liberal in both directions. Takes two system calls, four where its addresses are translated.
  ///
  /// The kernel knows a connection only once its first packet has left, so this is for the second packet or a later one.
  ///
  /// - Parameter tuple: as the packets of either direction have it where they are queued. Connections of the default zone
  ///   are found.
  /// - Returns: the directions the kernel knows by these addresses; nil where ``means`` is not `.connection`, and nothing
  ///   was asked. NAT hides one of them. A packet injected in that one would be taken for a new connection's and get
  ///   another source port (measured), so it must carry ``Engine/Marks/untracked``. Where the kernel knows neither, the
  ///   connection must not be edited: either nothing tracks it, so the gate cannot hold it when the daemon is gone, or
  ///   both its addresses are translated, and no injected packet would reach either end.
  public mutating func makeLiberal(_ tuple: ConnectionTuple) -> Directions? {
    guard socket != nil else { return nil }
    var known: Directions = []
    for (direction, tuple) in [(Directions.forward, tuple), (.backward, tuple.reversed)] {
      sequence &+= 1
      switch Self.setLiberal(tuple, sequence: sequence, socket!) {
      case nil: known.insert(direction)
      case .some(.noSuchFileOrDirectory): break
      case .some(let error): failures.count(error)
      }
    }
    return known
  }

  /// Changes the flags of the entry that has `tuple` as one of its two tuples.
  ///
  /// The kernel acts and answers while send runs, so nothing here waits.
  ///
  /// - Returns: nil when it is done, or what the kernel said.
  private static func setLiberal(_ tuple: ConnectionTuple, sequence: UInt32, _ socket: borrowing NetlinkSocket)
    -> Errno?
  {
    let size = 512
    return unsafe withUnsafeTemporaryAllocation(byteCount: size, alignment: 8) { buffer in
      let header = unsafe mnl_nlmsg_put_header(buffer.baseAddress!)!
      unsafe header.pointee.nlmsg_type = UInt16(NFNL_SUBSYS_CTNETLINK) << 8 | UInt16(IPCTNL_MSG_CT_NEW.rawValue)
      // Without NLM_F_CREATE this changes an entry, and makes none.
      unsafe header.pointee.nlmsg_flags = UInt16(NLM_F_REQUEST | NLM_F_ACK)
      unsafe header.pointee.nlmsg_seq = sequence
      let netfilter = unsafe mnl_nlmsg_put_extra_header(header, MemoryLayout<nfgenmsg>.size)!
        .assumingMemoryBound(to: nfgenmsg.self)
      unsafe netfilter.pointee = nfgenmsg(
        nfgen_family: UInt8(tuple.isIPv6 ? AF_INET6 : AF_INET), version: UInt8(NFNETLINK_V0), res_id: 0)
      // The kernel looks CTA_TUPLE_ORIG up among the tuples of both directions.
      unsafe tuple.put(in: header, as: CTA_TUPLE_ORIG)
      let information = unsafe mnl_attr_nest_start(header, UInt16(CTA_PROTOINFO.rawValue))
      let tcp = unsafe mnl_attr_nest_start(header, UInt16(CTA_PROTOINFO_TCP.rawValue))
      // struct nf_ct_tcp_flags: the flags, and which of them to change.
      var liberal = (UInt8(IP_CT_TCP_FLAG_BE_LIBERAL), UInt8(IP_CT_TCP_FLAG_BE_LIBERAL))
      unsafe mnl_attr_put(header, UInt16(CTA_PROTOINFO_TCP_FLAGS_ORIGINAL.rawValue), 2, &liberal)
      unsafe mnl_attr_put(header, UInt16(CTA_PROTOINFO_TCP_FLAGS_REPLY.rawValue), 2, &liberal)
      unsafe mnl_attr_nest_end(header, tcp)
      unsafe mnl_attr_nest_end(header, information)
      if case .failure(let error) = unsafe socket.send(header, count: Int(header.pointee.nlmsg_len)) { return error }
      return unsafe answer(on: socket, to: sequence, buffer)
    }
  }

  private static func answer(
    on socket: borrowing NetlinkSocket, to sequence: UInt32, _ buffer: UnsafeMutableRawBufferPointer
  ) -> Errno? {
    let descriptor = socket.descriptor
    while true {
      switch systemCall({ unsafe recv(descriptor, buffer.baseAddress, buffer.count, CInt(MSG_DONTWAIT)) }) {
      case .failure(let error): return error
      case .success(let count):
        let error = MemoryLayout<nlmsghdr>.size
        guard count >= error + MemoryLayout<CInt>.size else { return .ioError }
        let header = unsafe buffer.loadUnaligned(as: nlmsghdr.self)
        guard header.nlmsg_seq == sequence else { continue }
        guard header.nlmsg_type == UInt16(NLMSG_ERROR) else { return .ioError }
        let number = unsafe -buffer.loadUnaligned(fromByteOffset: error, as: CInt.self)
        return number == 0 ? nil : Errno(rawValue: number)
      }
    }
  }
}
