import CNetfilter
import Engine
import Glibc
import SystemPackage

/// Verdicts on their way to the kernel, several in one call.
///
/// Mangled packets are gathered from their pieces by the kernel itself: nothing is copied here. Packets next to each other
/// that are accepted, or dropped, as they are have one message together, for each message takes the kernel about a
/// microsecond. The batch sends itself when it is full; everything else waits for ``flush()``.
///
/// Packets must get their verdicts in the order in which they were received, and each of them before the next one.
@safe public struct VerdictBatch: ~Copyable {
  /// The longest packet that a mangled verdict can carry, in octets: a netlink attribute has 16 bits of length.
  public static let maximumPacket = 0xffff - MemoryLayout<nlattr>.size

  /// What became of the verdicts that did not reach the kernel, by error; one count a verdict.
  public private(set) var failures = ErrnoTally()

  /// UIO_MAXIOV: what one sendmsg takes.
  private static let maximumVectors = 1024
  /// Packets in more pieces than this are copied together, so that one packet always fits.
  private static let maximumPieces = 512
  /// Octets of one message beside its packet, at the most: netlink header, netfilter header, verdict, mark, the packet's
  /// attribute header, padding.
  private static let maximumHeader = 16 + 4 + 12 + 8 + 4 + 3

  private let descriptor: CInt
  private let queue: UInt16
  /// Octets in one call, at the most.
  private let limit: Int

  /// Headers, and the padding after packets, back to back in the order of the messages.
  private let headers: UnsafeMutableRawBufferPointer
  private var headersUsed = 0
  private let vectors: UnsafeMutableBufferPointer<iovec>
  private var vectorsUsed = 0
  /// For a packet in too many pieces; used once a batch.
  private let contiguous: UnsafeMutableRawBufferPointer
  private var identifiers: [UInt32] = []
  private var octets = 0
  /// The last message, where that can be said of the next packet too: where it stands in `headers`, and the verdict.
  private var run: (header: Int, verdict: CInt)?
  /// Packets that the kernel had no memory to drop. While they wait, no message may speak of all packets up to a later one.
  private var owed: [UInt32] = []

  /// - Parameter limit: octets in one call; at least one packet of the greatest size always goes.
  init(descriptor: CInt, queue: UInt16, limit: Int) {
    self.descriptor = descriptor
    self.queue = queue
    self.limit = limit
    unsafe headers = .allocate(byteCount: Self.maximumVectors * 48, alignment: 8)
    unsafe vectors = .allocate(capacity: Self.maximumVectors)
    unsafe contiguous = .allocate(byteCount: 0x1_0000, alignment: 8)
    identifiers.reserveCapacity(Self.maximumVectors)
  }

  deinit {
    // Packets whose verdict was not flushed would otherwise be told of only when the queue goes away with its socket,
    // which it does right after this: the kernel drops them.
    unsafe headers.deallocate()
    unsafe vectors.deallocate()
    unsafe contiguous.deallocate()
  }

  /// Verdicts that wait for a flush.
  public var count: Int { identifiers.count }

  mutating func append(_ verdict: Verdict, for id: UInt32, pieces: [UnsafeRawBufferPointer]) {
    switch verdict {
    case .accept(let mark): appendWhole(NF_ACCEPT, mark: mark, for: id)
    case .drop: appendWhole(NF_DROP, mark: nil, for: id)
    case .mangle(let packet, let mark):
      guard packet.length <= Self.maximumPacket else {
        failures.count(.messageTooLong)
        return appendWhole(NF_DROP, mark: nil, for: id)
      }
      run = nil
      let isScattered = packet.pieces.count > Self.maximumPieces
      makeRoom(octets: packet.length, vectors: 2 + (isScattered ? 1 : packet.pieces.count))
      appendHeader(id: id, verdict: NF_ACCEPT, mark: mark, packet: packet.length)
      if isScattered {
        unsafe appendContiguous(packet, pieces)
        flush()
      } else {
        for index in packet.pieces where unsafe !pieces[index].isEmpty { unsafe appendVector(pieces[index]) }
        appendPadding(after: packet.length)
      }
    }
  }

  /// Adds a verdict that leaves the packet as it is.
  private mutating func appendWhole(_ verdict: CInt, mark: UInt32?, for id: UInt32) {
    if mark == nil, owed.isEmpty, let run, run.verdict == verdict {
      // It speaks of all packets up to this one that still wait. All others of them have a verdict in front of it.
      unsafe VerdictHeader(
        .upTo, id: id, queue: queue, verdict: verdict, length: VerdictHeader.size
      ).store(to: headers.baseAddress! + run.header)
      identifiers.append(id)
      return
    }
    makeRoom(octets: 0, vectors: 1)
    let start = headersUsed
    appendHeader(id: id, verdict: verdict, mark: mark, packet: nil)
    run = mark == nil ? (start, verdict) : nil
  }

  /// Sends all verdicts that wait; the kernel has acted on them when this returns.
  ///
  /// Where the kernel has no memory for them, they are counted in ``failures`` and their packets are dropped, with a later
  /// flush where it has none for that either.
  public mutating func flush() {
    if !identifiers.isEmpty { send() }
    if !owed.isEmpty { owed = Self.sendDrops(of: owed, queue: queue, descriptor: descriptor) }
  }

  private mutating func send() {
    var message = unsafe msghdr()
    unsafe message.msg_iov = vectors.baseAddress
    unsafe message.msg_iovlen = vectorsUsed
    let descriptor = descriptor
    let sent = systemCall { unsafe sendmsg(descriptor, &message, CInt(MSG_NOSIGNAL)) }
    if case .failure(let error) = sent {
      failures.count(error, times: identifiers.count)
      owed += identifiers
    }
    identifiers.removeAll(keepingCapacity: true)
    run = nil
    headersUsed = 0
    vectorsUsed = 0
    octets = 0
  }

  /// Drops packets at once, whatever else waits.
  ///
  /// The messages are small, so that this works where the batch itself found no memory.
  ///
  /// - Returns: those for which the kernel had no memory. They wait there until they are dropped, or the queue goes away.
  @discardableResult
  static func sendDrops(of identifiers: [UInt32], queue: UInt16, descriptor: CInt) -> [UInt32] {
    let size = VerdictHeader.size
    return unsafe withUnsafeTemporaryAllocation(byteCount: size, alignment: 8) { buffer in
      identifiers.filter { id in
        unsafe VerdictHeader(.one, id: id, queue: queue, verdict: NF_DROP, length: size).store(to: buffer.baseAddress!)
        let sent = systemCall { unsafe Glibc.send(descriptor, buffer.baseAddress, size, CInt(MSG_NOSIGNAL)) }
        return (try? sent.get()) == nil
      }
    }
  }

  private mutating func makeRoom(octets added: Int, vectors needed: Int) {
    let total = added + Self.maximumHeader
    if unsafe octets + total > limit || vectorsUsed + needed > Self.maximumVectors
      || headersUsed + Self.maximumHeader > headers.count
    {
      flush()
    }
    octets += total
  }

  private mutating func appendHeader(id: UInt32, verdict: CInt, mark: UInt32?, packet: Int?) {
    let attribute = MemoryLayout<nlattr>.size
    let own = VerdictHeader.size + (mark == nil ? 0 : attribute + 4) + (packet == nil ? 0 : attribute)
    let start = unsafe headers.baseAddress! + headersUsed
    unsafe VerdictHeader(.one, id: id, queue: queue, verdict: verdict, length: own + aligned(packet ?? 0))
      .store(to: start)
    var offset = VerdictHeader.size
    if let mark {
      unsafe start.storeBytes(
        of: nlattr(nla_len: UInt16(attribute + 4), nla_type: UInt16(NFQA_MARK.rawValue)), toByteOffset: offset,
        as: nlattr.self)
      unsafe start.storeBytes(of: mark.bigEndian, toByteOffset: offset + attribute, as: UInt32.self)
      offset += attribute + 4
    }
    if let packet {
      unsafe start.storeBytes(
        of: nlattr(nla_len: UInt16(attribute + packet), nla_type: UInt16(NFQA_PAYLOAD.rawValue)), toByteOffset: offset,
        as: nlattr.self)
    }
    appendOwn(own)
    identifiers.append(id)
  }

  /// The end of the packet is not aligned, but the next message must be.
  private mutating func appendPadding(after length: Int) {
    let padding = aligned(length) - length
    guard padding > 0 else { return }
    for index in headersUsed..<(headersUsed + padding) { unsafe headers[index] = 0 }
    appendOwn(padding)
  }

  /// Takes the next `count` octets of `headers`, in one vector with those before where nothing lies between.
  private mutating func appendOwn(_ count: Int) {
    let piece = unsafe UnsafeRawBufferPointer(rebasing: headers[headersUsed..<(headersUsed + count)])
    headersUsed += count
    if vectorsUsed > 0 {
      let last = unsafe vectors[vectorsUsed - 1]
      if let base = unsafe last.iov_base, unsafe UnsafeRawPointer(base) + last.iov_len == piece.baseAddress {
        unsafe vectors[vectorsUsed - 1].iov_len += count
        return
      }
    }
    unsafe appendVector(piece)
  }

  private mutating func appendVector(_ piece: UnsafeRawBufferPointer) {
    unsafe vectors[vectorsUsed] = iovec(
      iov_base: UnsafeMutableRawPointer(mutating: piece.baseAddress), iov_len: piece.count)
    vectorsUsed += 1
  }

  private mutating func appendContiguous(_ packet: OutgoingPacket, _ pieces: [UnsafeRawBufferPointer]) {
    var used = 0
    for index in packet.pieces {
      unsafe UnsafeMutableRawBufferPointer(rebasing: contiguous[used...]).copyMemory(from: pieces[index])
      used += unsafe pieces[index].count
    }
    let whole = aligned(used)
    for index in used..<whole { unsafe contiguous[index] = 0 }
    unsafe appendVector(UnsafeRawBufferPointer(rebasing: contiguous[..<whole]))
  }

  /// NLMSG_ALIGN and NLA_ALIGN.
  private func aligned(_ length: Int) -> Int { (length + 3) & ~3 }
}

/// The beginning of every verdict message: netlink header, netfilter header, verdict attribute.
private struct VerdictHeader {
  static let size = MemoryLayout<nlmsghdr>.size + MemoryLayout<nfgenmsg>.size + verdictAttribute
  private static let verdictAttribute = MemoryLayout<nlattr>.size + MemoryLayout<nfqnl_msg_verdict_hdr>.size

  /// What packets a verdict is about.
  enum Scope {
    case one
    /// All that wait, up to that one.
    case upTo

    var message: UInt16 {
      UInt16(self == .one ? NFQNL_MSG_VERDICT.rawValue : NFQNL_MSG_VERDICT_BATCH.rawValue)
    }
  }

  let netlink: nlmsghdr
  let netfilter: nfgenmsg
  let verdict: nfqnl_msg_verdict_hdr

  /// - Parameter length: octets of the whole message.
  init(_ scope: Scope, id: UInt32, queue: UInt16, verdict: CInt, length: Int) {
    // The packet's identifier also serves as sequence number, so that an error names the packet.
    netlink = nlmsghdr(
      nlmsg_len: UInt32(length), nlmsg_type: UInt16(NFNL_SUBSYS_QUEUE) << 8 | scope.message,
      nlmsg_flags: UInt16(NLM_F_REQUEST), nlmsg_seq: id, nlmsg_pid: 0)
    netfilter = nfgenmsg(nfgen_family: UInt8(AF_UNSPEC), version: UInt8(NFNETLINK_V0), res_id: queue.bigEndian)
    self.verdict = nfqnl_msg_verdict_hdr(verdict: UInt32(bitPattern: verdict).bigEndian, id: id.bigEndian)
  }

  func store(to base: UnsafeMutableRawPointer) {
    unsafe base.storeBytes(of: netlink, as: nlmsghdr.self)
    unsafe base.storeBytes(of: netfilter, toByteOffset: 16, as: nfgenmsg.self)
    unsafe base.storeBytes(
      of: nlattr(nla_len: UInt16(Self.verdictAttribute), nla_type: UInt16(NFQA_VERDICT_HDR.rawValue)), toByteOffset: 20,
      as: nlattr.self)
    unsafe base.storeBytes(of: verdict, toByteOffset: 24, as: nfqnl_msg_verdict_hdr.self)
  }
}
