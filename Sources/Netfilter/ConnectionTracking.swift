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
      guard Self.setLiberal([nobody], sequence: 0, socket).first?.error == .noSuchFileOrDirectory else {
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

  /// Makes TCP connections liberal in both directions. Takes two system calls for up to ``requestLimit`` of them, and one more
  /// for each whose addresses are translated.
  ///
  /// The kernel knows a connection only once its first packet has left, so this is for the second packet or a later one.
  ///
  /// - Parameter tuples: as the packets of either direction have them where they are queued. Connections of the default zone
  ///   are found.
  /// - Returns: for each the directions that the kernel knows by these addresses; nil where ``means`` is not `.connection`, and
  ///   nothing was asked. NAT hides one of them. A packet injected in that one would be taken for a new connection's and get
  ///   another source port (measured), so it must carry ``Engine/Marks/untracked``. Where the kernel knows neither, the
  ///   connection must not be edited: either nothing tracks it, so the gate cannot hold it when the daemon is gone, or
  ///   both its addresses are translated, and no injected packet would reach either end.
  public mutating func makeLiberal(_ tuples: [ConnectionTuple]) -> [Directions]? {
    guard socket != nil else { return nil }
    var known = [Directions](repeating: [.forward, .backward], count: tuples.count)
    for start in stride(from: 0, to: tuples.count, by: Self.requestLimit) {
      let part = tuples[start..<min(start + Self.requestLimit, tuples.count)]
      for refusal in Self.setLiberal(part, sequence: sequence, socket!) {
        known[refusal.index].remove(refusal.direction)
        if refusal.error != .noSuchFileOrDirectory { failures.count(refusal.error) }
      }
      sequence &+= UInt32(2 * part.count)
    }
    return known
  }

  /// What the kernel did not do, and why.
  private struct Refusal {
    /// Of the tuple.
    let index: Int
    let direction: Directions
    let error: Errno
  }

  /// Connections that are asked for in one message: their refusals find room in the socket's receive buffer.
  private static var requestLimit: Int { 32 }
  /// Octets that the two requests for one connection take, at the most.
  private static var requestSize: Int { 512 }

  /// Changes the flags of the entries that have one of `tuples`, or one of these reversed, among their own two.
  ///
  /// The kernel acts and answers while send runs, so nothing here waits. It answers only where it refuses.
  private static func setLiberal(
    _ tuples: ArraySlice<ConnectionTuple>, sequence: UInt32, _ socket: borrowing NetlinkSocket
  ) -> [Refusal] {
    unsafe withUnsafeTemporaryAllocation(byteCount: tuples.count * requestSize, alignment: 8) { buffer in
      let start = buffer.baseAddress!
      var length = 0
      var number = sequence
      for tuple in tuples {
        unsafe length += putRequest(tuple, number, at: start + length)
        unsafe length += putRequest(tuple.reversed, number &+ 1, at: start + length)
        number &+= 2
      }
      if case .failure(let error) = unsafe socket.send(start, count: length) {
        return tuples.indices.flatMap { index in
          [Directions.forward, .backward].map { Refusal(index: index, direction: $0, error: error) }
        }
      }
      var refusals: [Refusal] = []
      while let (number, error) = unsafe answer(on: socket, buffer) {
        let place = Int(number &- sequence)
        guard place < 2 * tuples.count else { continue }
        let direction: Directions = place % 2 == 0 ? .forward : .backward
        refusals.append(Refusal(index: tuples.startIndex + place / 2, direction: direction, error: error))
      }
      return refusals
    }
  }

  /// Writes the message that makes the entry with `tuple` liberal. Returns its octets, a multiple of four.
  private static func putRequest(_ tuple: ConnectionTuple, _ sequence: UInt32, at place: UnsafeMutableRawPointer) -> Int
  {
    let header = unsafe mnl_nlmsg_put_header(place)!
    unsafe header.pointee.nlmsg_type = UInt16(NFNL_SUBSYS_CTNETLINK) << 8 | UInt16(IPCTNL_MSG_CT_NEW.rawValue)
    // Without NLM_F_CREATE this changes an entry, and makes none.
    unsafe header.pointee.nlmsg_flags = UInt16(NLM_F_REQUEST)
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
    return unsafe Int(header.pointee.nlmsg_len)
  }

  /// The next refusal that waits: the number of the request, and why; nil where none does.
  private static func answer(
    on socket: borrowing NetlinkSocket, _ buffer: UnsafeMutableRawBufferPointer
  ) -> (number: UInt32, error: Errno)? {
    let descriptor = socket.descriptor
    while case .success(let count) = systemCall({
      unsafe recv(descriptor, buffer.baseAddress, buffer.count, CInt(MSG_DONTWAIT))
    }) {
      let error = MemoryLayout<nlmsghdr>.size
      guard count >= error + MemoryLayout<CInt>.size else { continue }
      let header = unsafe buffer.loadUnaligned(as: nlmsghdr.self)
      let number = unsafe -buffer.loadUnaligned(fromByteOffset: error, as: CInt.self)
      guard header.nlmsg_type == UInt16(NLMSG_ERROR), number != 0 else { continue }
      return (header.nlmsg_seq, Errno(rawValue: number))
    }
    return nil
  }
}
