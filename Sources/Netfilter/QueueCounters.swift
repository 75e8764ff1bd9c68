import Engine
import Glibc

/// What one queue socket has seen.
public struct QueueCounters: CounterSet {
  /// Packets received, each of which got one verdict.
  public var packets: UInt64 = 0
  /// Calls that brought them.
  public var batches: UInt64 = 0
  /// Packets longer than one netlink attribute, of which only the beginning was seen.
  public var truncated: UInt64 = 0
  /// Messages that are no packets and no errors, or make no sense.
  public var malformed: UInt64 = 0
  /// Verdicts that the kernel refused; ``QueueSocket/refusals`` has them by error.
  public var refused: UInt64 = 0

  public init() {}

  public static var fields: [(name: String, path: any WritableKeyPath<Self, UInt64> & Sendable)] {
    [
      ("queue_packets", \.packets), ("queue_batches", \.batches),
      ("queue_truncated", \.truncated), ("queue_malformed", \.malformed), ("queue_refused", \.refused),
    ]
  }
}

/// What the kernel says of one bound queue (`/proc/net/netfilter/nfnetlink_queue`, in the caller's network namespace).
public struct QueueStatus: Sendable, Equatable {
  public let number: UInt16
  /// The netlink port of the program that bound it; often its process id.
  public let portID: UInt32
  /// Packets that wait for a verdict.
  public let waiting: Int
  /// Packets dropped because the queue was full.
  public let dropped: UInt64
  /// Packets dropped because the socket's receive buffer was full.
  public let droppedBySocket: UInt64
  /// Packets queued since it was bound.
  public let sequence: UInt64

  /// All bound queues; none where the kernel has no queues or the list cannot be read.
  public static func all() -> [QueueStatus] {
    guard let text = try? ProcFile.read("/proc/net/netfilter/nfnetlink_queue") else { return [] }
    return text.split(separator: "\n").compactMap(QueueStatus.init)
  }

  /// One line: number, port, waiting, copy mode, copy range, dropped, dropped by the socket, sequence, 1.
  init?(line: Substring) {
    let field = line.split(separator: " ")
    guard field.count >= 8, let number = UInt16(field[0]), let port = UInt32(field[1]), let waiting = Int(field[2]),
      let dropped = UInt64(field[5]), let bySocket = UInt64(field[6]), let sequence = UInt64(field[7])
    else { return nil }
    self.number = number
    self.portID = port
    self.waiting = waiting
    self.dropped = dropped
    self.droppedBySocket = bySocket
    self.sequence = sequence
  }
}
