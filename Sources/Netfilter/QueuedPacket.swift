import Engine
import Glibc

/// A packet that waits in the kernel for its verdict.
///
/// It cannot be copied, and ``answer(_:pieces:in:)`` consumes it: a second verdict does not compile. Forgetting the
/// only one does compile, and would leave the packet in the kernel's queue until the queue is full and everything
/// stalls. So a packet that goes away unanswered stops a debug build, and is dropped by a verdict of its own in a
/// release build: dropped and not accepted, because its end sends it again, while a packet that slips past the
/// sequence numbers of an edited connection corrupts it.
public struct QueuedPacket: ~Copyable {
  /// Which of the buffers given to ``QueueSocket/receive(into:)`` it lies in.
  public let buffer: Int
  /// Where in that buffer the IP packet lies; empty where the kernel gave none of it.
  public let payload: Range<Int>
  public let metadata: PacketMetadata
  /// The netfilter hook it was queued from: 0 PREROUTING, 1 INPUT, 2 FORWARD, 3 OUTPUT, 4 POSTROUTING.
  public let hook: UInt8
  /// The Ethernet type of what it carries: 0x0800 for IPv4, 0x86dd for IPv6.
  public let etherType: UInt16
  /// Whether the packet is longer than what is here. It must not be mangled: what is missing would be lost.
  public let isTruncated: Bool

  let id: UInt32
  let queue: UInt16
  let descriptor: CInt

  init(_ record: QueueRecord, buffer: Int, queue: UInt16, descriptor: CInt) {
    self.buffer = buffer
    payload = record.payload
    metadata = record.metadata
    hook = record.hook
    etherType = record.etherType
    isTruncated = record.isTruncated
    id = record.id
    self.queue = queue
    self.descriptor = descriptor
  }

  /// Gives the packet its verdict, which takes effect with the batch's next flush.
  ///
  /// - Parameter pieces: what ``Engine/OutgoingPacket/pieces`` counts into. The octets stay where they are until they are
  ///   sent, so they must live until the batch is flushed.
  public consuming func answer(
    _ verdict: Verdict, pieces: [UnsafeRawBufferPointer], in batch: inout VerdictBatch
  ) {
    unsafe batch.append(verdict, for: id, pieces: pieces)
    discard self
  }

  deinit {
    assertionFailure("packet \(id) of queue \(queue) got no verdict")
    VerdictBatch.sendDrops(of: [id], queue: queue, descriptor: descriptor)
  }
}
