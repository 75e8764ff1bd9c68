/// One direction of a connection: both TCBs, the pipeline between them, and what is needed to speak for its source.
struct Half {
  /// ``Flow/id`` of the flow that it belongs to.
  var flow: UInt32?
  /// The fields of its first packet, by which it is classified.
  var flowKey: FlowKey?
  /// The number behind the source's SYN.
  private(set) var start: InSequence
  /// The TCB towards the source.
  var receiver: Receiver
  var pipeline = Pipeline()
  /// The TCB towards the destination.
  var sender: Sender
  /// The retransmission timer, and for which state it was started.
  var retransmission: Retransmission?
  /// Whether packets made here for this direction must not be tracked.
  var isUntracked = false
  /// SND.UP of the source: behind the last octet that it has called urgent.
  var urgentEnd: InSequence?
  /// What the source offered in its SYN.
  var offer = Offer()
  /// The first octet of the segment that last came before its turn.
  var recentEarly: InSequence?
  /// Whether ``receiver`` knows where the stream stands; of a connection that is only observed.
  var reading = Reading.unplaced
  /// The source as packets of its own show it; packets made here look the same.
  var likeness: Likeness?
  var octetsIn: UInt64 = 0
  /// Behind the last octet that passed before its turn, where nothing edits; in front of it nothing may begin to.
  var passedEdge: OutSequence

  /// - Parameter start: the number behind the source's SYN.
  init(start: InSequence) {
    self.start = start
    receiver = Receiver(next: start)
    sender = Sender(start: start)
    passedEdge = OutSequence(start.raw)
  }

  /// Begins with the number behind the source's SYN.
  mutating func begin(at start: InSequence) {
    self.start = start
    receiver = Receiver(next: start)
    sender = Sender(start: start)
    passedEdge = OutSequence(start.raw)
  }

  /// How far the reading of a stream has come whose beginning was not seen.
  enum Reading {
    case unplaced
    case placed
    /// Octets went past unseen; from there on nothing is read.
    case ended
  }

  /// What a SYN offers.
  struct Offer {
    var maximumSegmentSize: UInt16?
    var windowScale: UInt8?
    var permitsSACK = false
    var hasTimestamps = false
    /// Why the connection is never edited if the other end agrees.
    var restriction: Restriction?
    /// Octets.
    var window: UInt16 = 0
  }

  struct Retransmission {
    var deadline: Instant
    var edge: OutSequence
    var backoff: UInt8
  }

  /// What packets of one source have in common.
  struct Likeness {
    var ip: IPHeader
    var sourcePort: UInt16
    var destinationPort: UInt16
    var mark: UInt32
    /// The latest TSval (RFC 7323).
    var timestamp: UInt32?
  }

  /// Learns from a packet of the source. A packet that is to die on its way must not have those made here die with it, so the
  /// highest hop limit counts.
  mutating func learn(_ arrival: Arrival) {
    var timestamp = arrival.tcp.options.timestamps?.value
    if let known = likeness?.timestamp {
      // The latest counts: an old segment must not turn the clock back.
      timestamp = timestamp.map { Int32(bitPattern: $0 &- known) > 0 ? $0 : known } ?? known
    }
    var ip = arrival.ip
    ip.hopLimit = max(ip.hopLimit, likeness?.ip.hopLimit ?? 0)
    likeness = Likeness(
      ip: ip, sourcePort: arrival.tcp.sourcePort, destinationPort: arrival.tcp.destinationPort,
      mark: arrival.metadata.mark, timestamp: timestamp)
  }

  mutating func removeAll(in pool: SlabPool) {
    receiver.removeAll(in: pool)
    pipeline.removeAll(in: pool)
    sender.removeAll(in: pool)
  }
}

extension Half.Offer {
  init(_ syn: TCPHeader) {
    maximumSegmentSize = syn.options.maximumSegmentSize
    windowScale = syn.options.windowScale
    permitsSACK = syn.options.sackPermitted
    hasTimestamps = syn.options.timestamps != nil
    window = syn.window
  }

  /// The same with what an earlier SYN with the same number has offered. Which of them arrives is not known here; the other end
  /// agrees only to what that one offers.
  func adding(_ earlier: Half.Offer) -> Half.Offer {
    var offer = self
    offer.maximumSegmentSize = maximumSegmentSize ?? earlier.maximumSegmentSize
    offer.windowScale = windowScale ?? earlier.windowScale
    offer.permitsSACK = permitsSACK || earlier.permitsSACK
    offer.hasTimestamps = hasTimestamps || earlier.hasTimestamps
    return offer
  }
}
