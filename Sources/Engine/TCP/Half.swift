/// One direction of a connection: both TCBs, the pipeline between them, and what is needed to speak for its source.
struct Half: ~Copyable {
  // In an order that leaves few holes: there are as many of these as there are connections, twice.

  /// The fields of its first packet, by which it is classified.
  var flowKey: FlowKey?
  /// Whether ``receiver`` knows where the stream stands; of a connection that is only observed.
  var reading = Reading.unplaced
  /// Whether packets made here for this direction must not be tracked.
  var isUntracked = false
  /// Whether the modules have been told that its source has ended it.
  var isEndTold = false
  /// Whether the source is this machine itself: its packets come in by no interface.
  var isLocal = false
  /// ``Flow/id`` of the flow that it belongs to.
  var flow: UInt32?
  /// What the source offered in its SYN.
  var offer = Offer()
  /// The number behind the source's SYN.
  private(set) var start: InSequence
  /// Behind the last octet that passed before its turn, where nothing edits; in front of it nothing may begin to.
  var passedEdge: OutSequence
  /// The source as packets of its own show it; packets made here look the same.
  var likeness: Likeness?
  var octetsIn: UInt64 = 0
  var pipeline = Pipeline()
  /// Modules of the layer `tcp`: those that see its segments on their way in, and on their way out.
  var arrivals: [Pipeline.Member] = []
  var departures: [Pipeline.Member] = []
  /// What waits in the OOSEQ queue, and what its source knows of it; nil where nothing does.
  var early: Early? {
    get { rareEarly.isEmpty ? nil : rareEarly.value }
    set {
      guard let newValue else { return rareEarly.clear() }
      if rareEarly.isEmpty { rareEarly.put(newValue) } else { rareEarly.value = newValue }
    }
  }
  private var rareEarly = Rare<Early>()
  /// What most connections never come to.
  private var seldom = Rare<Seldom>()
  /// The TCB towards the source.
  var receiver: Receiver
  /// The TCB towards the destination.
  var sender: Sender
  /// The retransmission timer, and for which state it was started.
  var retransmission: Retransmission?

  /// SND.UP of the source: behind the last octet that it has called urgent.
  var urgentEnd: InSequence? {
    get { seldom.isEmpty ? nil : seldom.value.urgentEnd }
    set {
      guard newValue != urgentEnd else { return }
      expectSeldom()
      seldom.value.urgentEnd = newValue
    }
  }

  /// What was injected in packets that the kernel cuts.
  var superPackets: SuperPackets {
    get { seldom.isEmpty ? SuperPackets() : seldom.value.superPackets }
    set {
      expectSeldom()
      seldom.value.superPackets = newValue
    }
  }

  /// What its packets have said; of a connection that is only observed.
  var sighting: Sighting {
    get { seldom.isEmpty ? Sighting() : seldom.value.sighting }
    set {
      expectSeldom()
      seldom.value.sighting = newValue
    }
  }

  /// Has the values of ``seldom`` where there are none yet.
  private mutating func expectSeldom() {
    if seldom.isEmpty { seldom.put(Seldom()) }
  }

  private struct Seldom {
    var urgentEnd: InSequence?
    var superPackets = SuperPackets()
    var sighting = Sighting()
  }

  /// - Parameter start: the number behind the source's SYN.
  init(start: InSequence) {
    self.start = start
    receiver = Receiver(next: start)
    sender = Sender(start: start)
    passedEdge = OutSequence(start.raw)
  }

  /// What is known of the source of `other` from its SYN alone.
  init(openingOf other: borrowing Half) {
    self.init(start: other.start)
    flow = other.flow
    flowKey = other.flowKey
    arrivals = other.arrivals
    departures = other.departures
    offer = other.offer
    likeness = other.likeness
    sender.roundTrip = other.sender.roundTrip
  }

  /// Begins with the number behind the source's SYN.
  mutating func begin(at start: InSequence) {
    self.start = start
    receiver = Receiver(next: start)
    sender = Sender(start: start)
    passedEdge = OutSequence(start.raw)
  }

  /// Where a module of the layer `tcp` sees a segment.
  enum Side {
    case arrival, departure
  }

  func members(_ side: Side) -> [Pipeline.Member] { side == .arrival ? arrivals : departures }

  struct Early {
    /// The first octet of the segment that last came before its turn.
    var recent: InSequence
    /// When the destination will have had the time to tell of all that left before.
    var deadline: Instant
    /// Whether there is something that the source is to be told of by then.
    var isPending = false
    /// Whether the source has been told of any of it.
    var isReported = false
  }

  /// How far the reading of a stream has come whose beginning was not seen.
  enum Reading {
    case unplaced
    case placed
    /// Octets went past unseen; from there on nothing is read.
    case ended
  }

  /// Where a stream stands of which the numbers are not followed.
  struct Sighting {
    /// Behind the last number that has passed.
    var next: OutSequence?
    /// What the destination has acknowledged last.
    var acknowledged: OutSequence?
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

  /// What packets of one source have in common, beside its address and port.
  struct Likeness {
    var mark: UInt32
    /// The latest TSval (RFC 7323).
    var timestamp: UInt32?
    private let flowLabel: UInt32
    private let trafficClass: UInt8
    let hopLimit: UInt8
    private let dontFragment: Bool
    let isIPv6: Bool

    init(_ ip: IPHeader, mark: UInt32, timestamp: UInt32?) {
      self.mark = mark
      self.timestamp = timestamp
      flowLabel = ip.flowLabel
      trafficClass = ip.trafficClass
      hopLimit = ip.hopLimit
      dontFragment = ip.dontFragment
      isIPv6 = ip.isIPv6
    }

    /// The other end, of which nothing is known but that it answers to this one.
    func opposite(from source: IPAddress, to destination: IPAddress) -> Likeness {
      var ip = header(from: source, to: destination)
      ip.flowLabel = 0
      ip.trafficClass = 0
      ip.hopLimit = 64
      return Likeness(ip, mark: mark, timestamp: nil)
    }

    /// An IP header from `source` to `destination` that says the same, without options.
    func header(from source: IPAddress, to destination: IPAddress) -> IPHeader {
      let length = isIPv6 ? 40 : 20
      return IPHeader(
        isIPv6: isIPv6, source: source, destination: destination, headerLength: length, totalLength: length,
        trafficClass: trafficClass, hopLimit: hopLimit, flowLabel: flowLabel, identification: 0,
        dontFragment: dontFragment, protocolNumber: ProtocolNumber.tcp, isFragment: false, hasOptions: false,
        isSourceRouted: false)
    }
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
    ip.hopLimit = max(ip.hopLimit, likeness?.hopLimit ?? 0)
    likeness = Likeness(ip, mark: arrival.metadata.mark, timestamp: timestamp)
    isLocal = arrival.metadata.inPort == 0
  }

  /// Notes that something has left for the destination in front of what waits: it takes its time until that is acknowledged.
  mutating func postponeEarly(at now: Instant) {
    if receiver.outOfOrder.isEmpty { rareEarly.clear() }
    if !rareEarly.isEmpty { rareEarly.value.deadline = now + sender.roundTrip.bound }
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
