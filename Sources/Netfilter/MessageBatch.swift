import CNetfilter
import Engine
import Glibc
import SystemPackage

/// Packets that leave by one socket in one call, each with an address and a mark of its own.
@safe struct MessageBatch<Address>: ~Copyable {
  /// Packets that find room.
  static var maximumMessages: Int { 64 }
  /// UIO_MAXIOV, of one packet; a packet has that many pieces at the most.
  static var maximumPieces: Int { 1024 }
  /// CMSG_SPACE(sizeof(int)) on 64-bit systems.
  private static var controlSize: Int { 24 }

  private let messages: UnsafeMutableBufferPointer<mmsghdr>
  private let vectors: UnsafeMutableBufferPointer<iovec>
  private let addresses: UnsafeMutableBufferPointer<Address>
  private let controls: UnsafeMutableRawBufferPointer
  private(set) var count = 0
  private var vectorsUsed = 0

  /// - Parameter address: any; none is sent to that is not given.
  init(_ address: Address) {
    unsafe messages = .allocate(capacity: Self.maximumMessages)
    unsafe vectors = .allocate(capacity: 2 * Self.maximumPieces)
    unsafe addresses = .allocate(capacity: Self.maximumMessages)
    unsafe controls = .allocate(byteCount: Self.maximumMessages * Self.controlSize, alignment: 8)
    unsafe messages.initialize(repeating: mmsghdr())
    unsafe addresses.initialize(repeating: address)
    unsafe controls.initializeMemory(as: UInt8.self, repeating: 0)
  }

  deinit {
    unsafe messages.deallocate()
    unsafe vectors.deallocate()
    unsafe addresses.deallocate()
    unsafe controls.deallocate()
  }

  /// Whether there is room for one more packet of so many pieces.
  func hasRoom(pieces: Int) -> Bool {
    unsafe count < Self.maximumMessages && vectorsUsed + pieces <= vectors.count
  }

  /// Adds a packet, for which there is room. Its octets stay where they are until the batch is sent.
  ///
  /// - Parameters:
  ///   - prefix: what stands in front of its pieces, where anything does.
  ///   - addressCount: octets of `address` that count.
  mutating func append(
    prefix: UnsafeRawBufferPointer? = nil, _ pieces: ArraySlice<UnsafeRawBufferPointer>, to address: Address,
    addressCount: Int, mark: UInt32
  ) {
    let first = vectorsUsed
    if let prefix = unsafe prefix { unsafe add(prefix) }
    for index in unsafe pieces.indices { unsafe add(pieces[index]) }
    unsafe addresses[count] = address
    // SO_MARK as a control message marks this packet alone.
    let control = unsafe controls.baseAddress! + count * Self.controlSize
    var controlHeader = cmsghdr()
    controlHeader.cmsg_len = MemoryLayout<cmsghdr>.size + MemoryLayout<UInt32>.size
    controlHeader.cmsg_level = SOL_SOCKET
    controlHeader.cmsg_type = SO_MARK
    unsafe control.storeBytes(of: controlHeader, as: cmsghdr.self)
    unsafe control.storeBytes(of: mark, toByteOffset: MemoryLayout<cmsghdr>.size, as: UInt32.self)
    var header = unsafe msghdr()
    unsafe header.msg_name = UnsafeMutableRawPointer(addresses.baseAddress! + count)
    unsafe header.msg_namelen = socklen_t(addressCount)
    unsafe header.msg_iov = vectors.baseAddress! + first
    unsafe header.msg_iovlen = vectorsUsed - first
    unsafe header.msg_control = control
    unsafe header.msg_controllen = Self.controlSize
    unsafe messages[count].msg_hdr = header
    count += 1
  }

  private mutating func add(_ piece: UnsafeRawBufferPointer) {
    unsafe vectors[vectorsUsed] = iovec(
      iov_base: UnsafeMutableRawPointer(mutating: piece.baseAddress), iov_len: piece.count)
    vectorsUsed += 1
  }

  /// Sends all of them, and begins anew.
  ///
  /// - Parameter refused: called for each that the kernel does not take, with its place in the batch.
  /// - Returns: how many it took.
  mutating func send(on descriptor: CInt, refused: (Int, Errno) -> Void) -> Int {
    var start = 0
    var taken = 0
    while start < count {
      let number = UInt32(count - start)
      let first = unsafe messages.baseAddress! + start
      switch systemCall({ unsafe sendmmsg(descriptor, first, number, CInt(MSG_NOSIGNAL | MSG_DONTWAIT)) }) {
      case .success(let sent):
        taken += Int(sent)
        start += Int(sent)
      case .failure(let error):
        // An error is of the first packet: those before an error are reported as taken.
        refused(start, error)
        start += 1
      }
    }
    count = 0
    vectorsUsed = 0
    return taken
  }
}
