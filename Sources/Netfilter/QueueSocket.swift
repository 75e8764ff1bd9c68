import CNetfilter
import Engine
import Glibc
import SystemPackage

/// One netfilter queue: packets come in, verdicts go out.
///
/// Packets are received straight into buffers of the caller, several in one call, and nothing is allocated for them.
/// Not to be used from two threads at once.
@safe public struct QueueSocket: ~Copyable {
  /// How a queue is set up.
  public struct Options: Sendable {
    /// Packets that may wait for a verdict; the kernel drops what comes on top.
    public var maximumLength: UInt32 = 16_384
    /// Octets of packets and their bookkeeping that may wait to be received: what a thousand sources send at once with windows of
    /// 128 KiB. What the kernel drops beyond that is lost to as many sources at the same time.
    public var receiveBuffer = 128 << 20
    /// Messages taken in by one receive, at the most.
    public var maximumBatch = 32
    /// Octets of verdicts sent in one call.
    public var verdictOctets = 512 << 10

    public init() {}
  }

  public let number: UInt16
  /// Octets of receive buffer that the kernel gave, counted as it counts them: twice what was asked, its overhead included.
  public let receiveBuffer: Int
  public private(set) var counters = QueueCounters()
  /// What the kernel refused after it took it, by error: ENOENT is a verdict for a packet that no longer waits.
  public private(set) var refusals = ErrnoTally()
  /// Where ``QueuedPacket/answer(_:pieces:in:)`` puts its verdicts.
  public var verdicts: VerdictBatch

  private let socket: NetlinkSocket
  private let messages: UnsafeMutableBufferPointer<mmsghdr>
  private let vectors: UnsafeMutableBufferPointer<iovec>
  /// The messages of the last receive that ``next()`` has not looked at.
  private var pending = 0..<0

  /// Binds queue `number` for IPv4, IPv6 and bridged packets; they come whole and unsegmented (NFQA_CFG_F_GSO), and
  /// fail closed: what cannot be queued is dropped.
  ///
  /// - Throws: where the caller may not, another program has the queue, or the kernel cannot do it.
  public init(_ number: UInt16, options: Options = Options()) throws(NetfilterError) {
    let socket = try NetlinkSocket()
    let descriptor = socket.descriptor
    // Otherwise a full receive buffer would be an error, and the kernel would put nothing into it until all had been read.
    _ = try SocketOption.set(descriptor, SOL_NETLINK, NETLINK_NO_ENOBUFS, 1).or("set NETLINK_NO_ENOBUFS")
    let receiveBuffer = SocketOption.setBuffer(
      descriptor, forced: SO_RCVBUFFORCE, limited: SO_RCVBUF, octets: options.receiveBuffer)
    let sendBuffer = SocketOption.setBuffer(
      descriptor, forced: SO_SNDBUFFORCE, limited: SO_SNDBUF, octets: 2 * options.verdictOctets)
    // The kernel refuses a message longer than the send buffer, less 32 octets.
    let limit = min(options.verdictOctets, sendBuffer - 4096)
    guard limit > VerdictBatch.maximumPacket else {
      throw NetfilterError(
        "size the send buffer of queue \(number)", .noBufferSpace, remedy: "raise the sysctl net.core.wmem_max")
    }
    try Self.configure(socket, number, options)
    self.number = number
    self.receiveBuffer = receiveBuffer
    unsafe messages = .allocate(capacity: options.maximumBatch)
    unsafe vectors = .allocate(capacity: options.maximumBatch)
    unsafe messages.initialize(repeating: mmsghdr())
    unsafe vectors.initialize(repeating: iovec())
    for index in unsafe messages.indices {
      unsafe messages[index].msg_hdr.msg_iov = vectors.baseAddress! + index
      unsafe messages[index].msg_hdr.msg_iovlen = 1
    }
    verdicts = VerdictBatch(descriptor: descriptor, queue: number, limit: limit)
    self.socket = consume socket
  }

  deinit {
    unsafe messages.deallocate()
    unsafe vectors.deallocate()
  }

  /// Packets that the kernel has dropped so far because the socket's receive buffer was full. Takes a system call.
  public var overruns: UInt64 { SocketOption.drops(socket.descriptor) }

  /// Readable when packets wait; for poll and epoll. Valid for as long as the queue lives.
  public var descriptor: FileDescriptor { FileDescriptor(rawValue: socket.descriptor) }

  /// Takes in the packets that wait, each into one of `buffers` from the first on, without waiting for more.
  ///
  /// All packets of the receive before must have been taken with ``next()``.
  ///
  /// - Parameter buffers: each at least 66 KiB long, or longer packets come truncated.
  /// - Returns: the number of buffers used; a few of them may hold a message that is no packet and yields none.
  /// - Throws: what makes the queue unusable; that the kernel is short of memory does not.
  public mutating func receive(into buffers: [UnsafeMutableRawBufferPointer]) throws(NetfilterError) -> Int {
    precondition(pending.isEmpty, "packets of the last receive have not been taken")
    let count = unsafe min(buffers.count, messages.count)
    for index in 0..<count {
      unsafe vectors[index] = iovec(iov_base: buffers[index].baseAddress, iov_len: buffers[index].count)
    }
    let descriptor = socket.descriptor
    let received = systemCall {
      unsafe recvmmsg(descriptor, messages.baseAddress, UInt32(count), CInt(MSG_DONTWAIT), nil)
    }
    switch received {
    case .success(let count):
      pending = 0..<Int(count)
      counters.batches &+= 1
      return Int(count)
    case .failure(.wouldBlock):
      return 0
    case .failure(.noBufferSpace):
      // It had no memory to say that it refuses something (net/netlink/af_netlink.c, netlink_ack).
      return 0
    case .failure(let error):
      throw NetfilterError("receive from queue \(number)", error)
    }
  }

  /// The next packet of the last receive; nil when all have been taken.
  public mutating func next() -> QueuedPacket? {
    while let index = pending.first {
      pending = (index + 1)..<pending.upperBound
      let buffer = unsafe UnsafeMutableRawBufferPointer(start: vectors[index].iov_base, count: vectors[index].iov_len)
      let isCut = unsafe messages[index].msg_hdr.msg_flags & CInt(MSG_TRUNC) != 0
      switch unsafe QueueMessage(buffer, count: Int(messages[index].msg_len), isCut: isCut) {
      case .packet(let record):
        counters.packets &+= 1
        if record.isTruncated { counters.truncated &+= 1 }
        return QueuedPacket(record, buffer: index, queue: number, descriptor: socket.descriptor)
      case .error(let error):
        counters.refused &+= 1
        refusals.count(error)
      case .malformed:
        counters.malformed &+= 1
      }
    }
    return nil
  }

  /// Binds the queue and sets it up in one message, so that no packet meets it half set up.
  private static func configure(_ socket: borrowing NetlinkSocket, _ number: UInt16, _ options: Options)
    throws(NetfilterError)
  {
    let flags = UInt32(NFQA_CFG_F_GSO)
    let sent = unsafe withUnsafeTemporaryAllocation(byteCount: 256, alignment: 8) { buffer in
      let header = unsafe nfq_nlmsg_put(
        buffer.baseAddress!.assumingMemoryBound(to: CChar.self), CInt(NFQNL_MSG_CONFIG.rawValue), UInt32(number))!
      unsafe nfq_nlmsg_cfg_put_cmd(header, UInt16(AF_UNSPEC), UInt8(NFQNL_CFG_CMD_BIND.rawValue))
      unsafe nfq_nlmsg_cfg_put_params(header, UInt8(NFQNL_COPY_PACKET.rawValue), 0xffff)
      unsafe nfq_nlmsg_cfg_put_qmaxlen(header, options.maximumLength)
      unsafe mnl_attr_put_u32(header, UInt16(NFQA_CFG_MASK.rawValue), flags.bigEndian)
      unsafe mnl_attr_put_u32(header, UInt16(NFQA_CFG_FLAGS.rawValue), flags.bigEndian)
      return unsafe socket.send(header, count: Int(header.pointee.nlmsg_len))
    }
    _ = try sent.or("configure queue \(number)")
    // Without NLM_F_ACK the kernel answers a failure only, and before send returns. An acknowledgement would be
    // useless here: packets may come before it.
    var answer = (nlmsghdr(), CInt(0))
    let descriptor = socket.descriptor
    let size = unsafe withUnsafeMutableBytes(of: &answer) { buffer in
      systemCall {
        unsafe recv(descriptor, buffer.baseAddress, buffer.count, CInt(MSG_PEEK | MSG_DONTWAIT))
      }
    }
    guard case .success(let size) = size, size == MemoryLayout<nlmsghdr>.size + MemoryLayout<CInt>.size,
      answer.0.nlmsg_type == UInt16(NLMSG_ERROR), answer.1 != 0
    else { return }
    throw refusal(Errno(rawValue: -answer.1), of: number)
  }

  private static func refusal(_ error: Errno, of number: UInt16) -> NetfilterError {
    let remedy: String?
    switch error {
    case .notPermitted, .resourceBusy, .fileExists:
      if let owner = QueueStatus.all().first(where: { $0.number == number }) {
        remedy =
          "another program has bound it (netlink port \(owner.portID), mostly its process id): stop that, or take other queues"
      } else {
        remedy = "run as root, or with CAP_NET_ADMIN"
      }
    case .invalidArgument:
      remedy = "the kernel needs CONFIG_NETFILTER_NETLINK_QUEUE"
    default:
      remedy = nil
    }
    return NetfilterError("bind queue \(number)", error, remedy: remedy)
  }
}
