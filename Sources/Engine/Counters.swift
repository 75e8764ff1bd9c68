/// A set of counters that can be added up over workers and printed by name.
public protocol CounterSet: Sendable {
  init()
  /// The counters by the names that `flowctl stats` gives them, in printing order.
  static var fields: [(name: String, path: any WritableKeyPath<Self, UInt64> & Sendable)] { get }
}

extension CounterSet {
  /// Adds `other`, counter by counter.
  public mutating func add(_ other: Self) {
    for field in Self.fields { self[keyPath: field.path] &+= other[keyPath: field.path] }
  }

  /// Names and values, in printing order.
  public var named: [(name: String, value: UInt64)] { Self.fields.map { ($0.name, self[keyPath: $0.path]) } }
}

/// What one engine has done with packets.
public struct EngineCounters: CounterSet {
  public var packets: UInt64 = 0
  public var octets: UInt64 = 0
  public var accepted: UInt64 = 0
  public var mangled: UInt64 = 0
  public var dropped: UInt64 = 0
  public var injected: UInt64 = 0
  /// Packets of those that the kernel was to cut into segments.
  public var superPackets: UInt64 = 0
  /// Directions of connections in which those did not arrive, so that no more are made.
  public var superPacketsLost: UInt64 = 0
  /// Packets whose headers make no sense; accepted as they are.
  public var malformed: UInt64 = 0
  public var fragments: UInt64 = 0
  public var badChecksum: UInt64 = 0
  /// Packets that no flow matches.
  public var unmatched: UInt64 = 0
  /// Connections whose handshake was not seen as it should be; never edited.
  public var midstream: UInt64 = 0
  /// Connections of which packets of one direction only come by; never edited.
  public var oneSided: UInt64 = 0
  /// Connections under TCP-MD5 or TCP-AO; never edited.
  public var signed: UInt64 = 0
  /// Paths of MPTCP connections; never edited.
  public var multipath: UInt64 = 0
  /// Connections with data in a SYN that had gone by before an editor was there; never edited.
  public var synData: UInt64 = 0
  /// Connections that are translated in both directions, so that nothing can be injected into them; never edited.
  public var translated: UInt64 = 0
  /// Times that octets of a connection that is only observed went past unseen, which ends the reading of that direction.
  public var gaps: UInt64 = 0
  /// Packets of connections that an earlier daemon edited; dropped, for their sequence numbers are lost.
  public var orphaned: UInt64 = 0
  /// Segments that came before their turn and waited.
  public var outOfOrder: UInt64 = 0
  /// Segments refused because a bound was reached; the source sends them again.
  public var overLimit: UInt64 = 0
  /// Retransmissions answered from the retransmit queue.
  public var retransmitted: UInt64 = 0
  /// Acknowledgements made here, for deleted bytes or segments out of order.
  public var acknowledged: UInt64 = 0
  /// ICMP errors about segments of connections here.
  public var icmpErrors: UInt64 = 0
  /// Times that the path of one direction of a connection turned out to take only smaller packets than before.
  public var pathMTU: UInt64 = 0
  /// Connections reset because the destination took no more of what had been acknowledged to the source.
  public var aborted: UInt64 = 0
  /// Connections in which a module has failed.
  public var moduleFailures: UInt64 = 0
  /// Connections and associations that a module, the failure of one, or `flowctl conn kill` has ended.
  public var cut: UInt64 = 0
  /// Connections and associations that the kernel forwards alone from then on, for no module has an interest any more.
  public var offloaded: UInt64 = 0
  /// Packets of those that came all the same.
  public var offloadedPackets: UInt64 = 0
  /// Super-packets of UDP that the kernel would not take back: those that modules have changed are dropped. Those for a module on a
  /// thread are dropped where it edits; where it reads they go on unseen, or do not, as `--on-fail` of the flow says.
  public var superDatagrams: UInt64 = 0
  /// Packets that found no room among those that wait for a module on a thread; dropped.
  public var threadOverflows: UInt64 = 0
  /// Packets that a module on a thread was not shown, for they mean something on their link alone: neighbour discovery, multicast.
  public var threadUnseen: UInt64 = 0
  /// Answers to packets that modules have refused: resets of TCP, and ICMP errors.
  public var refusals: UInt64 = 0
  /// Connections that found no place in the table; they pass unedited.
  public var refused: UInt64 = 0
  public var connectionsOpened: UInt64 = 0
  public var connectionsClosed: UInt64 = 0
  /// Associations of UDP: datagrams between the same addresses and ports.
  public var associationsOpened: UInt64 = 0
  public var associationsClosed: UInt64 = 0

  public init() {}

  public static var fields: [(name: String, path: any WritableKeyPath<Self, UInt64> & Sendable)] {
    [
      ("packets", \.packets), ("octets", \.octets), ("accepted", \.accepted), ("mangled", \.mangled),
      ("dropped", \.dropped), ("injected", \.injected), ("super_packets", \.superPackets),
      ("super_packets_lost", \.superPacketsLost), ("malformed", \.malformed), ("fragments", \.fragments),
      ("bad_checksum", \.badChecksum), ("unmatched", \.unmatched), ("midstream", \.midstream),
      ("one_sided", \.oneSided), ("signed", \.signed), ("multipath", \.multipath), ("syn_data", \.synData),
      ("translated", \.translated), ("gaps", \.gaps),
      ("orphaned", \.orphaned), ("out_of_order", \.outOfOrder), ("over_limit", \.overLimit),
      ("retransmitted", \.retransmitted), ("acknowledged", \.acknowledged),
      ("icmp_errors", \.icmpErrors), ("path_mtu", \.pathMTU),
      ("aborted", \.aborted), ("module_failures", \.moduleFailures), ("cut", \.cut),
      ("offloaded", \.offloaded), ("offloaded_packets", \.offloadedPackets),
      ("super_datagrams", \.superDatagrams), ("thread_overflows", \.threadOverflows), ("thread_unseen", \.threadUnseen),
      ("refusals", \.refusals), ("refused", \.refused),
      ("connections_opened", \.connectionsOpened), ("connections_closed", \.connectionsClosed),
      ("associations_opened", \.associationsOpened), ("associations_closed", \.associationsClosed),
    ]
  }
}

/// What went through one flow.
public struct FlowCounters: CounterSet {
  public var packets: UInt64 = 0
  /// Octets of IP packets.
  public var octets: UInt64 = 0
  public var connections: UInt64 = 0

  public init() {}

  public static var fields: [(name: String, path: any WritableKeyPath<Self, UInt64> & Sendable)] {
    [("packets", \.packets), ("octets", \.octets), ("connections", \.connections)]
  }
}

/// What one attached module has done, both directions together.
public struct ModuleCounters: CounterSet {
  /// Octets that have come to it.
  public var octetsIn: UInt64 = 0
  /// Octets that it has let go on, as they have left it.
  public var octetsOut: UInt64 = 0
  public var edits: UInt64 = 0
  public var octetsRemoved: UInt64 = 0
  public var octetsInserted: UInt64 = 0
  /// Times that bytes were held beyond the bound in time or size and were released unedited.
  public var forcedReleases: UInt64 = 0
  /// Connections in which it has failed.
  public var failures: UInt64 = 0
  /// Packets and datagrams of its own that it was not shown: datagrams where it is written to read from a stream; super-packets
  /// of UDP where it edits, or is on a thread; and on a thread what is of a link.
  public var unseen: UInt64 = 0

  public init() {}

  public static var fields: [(name: String, path: any WritableKeyPath<Self, UInt64> & Sendable)] {
    [
      ("octets_in", \.octetsIn), ("octets_out", \.octetsOut), ("edits", \.edits),
      ("octets_removed", \.octetsRemoved), ("octets_inserted", \.octetsInserted),
      ("forced_releases", \.forcedReleases), ("failures", \.failures), ("unseen", \.unseen),
    ]
  }
}

/// What an engine has counted, as it is asked for it.
public struct Statistics: Sendable {
  public var engine = EngineCounters()
  /// By ``Flow/id``.
  public var flows: [UInt32: FlowCounters] = [:]
  /// By ``AttachedModule/id``; `own` in the order of ``ModuleDescription/counters``.
  public var modules: [UInt32: (common: ModuleCounters, own: [UInt64])] = [:]
  /// Why modules of the layer `ip` have failed, by ``AttachedModule/id``: such a module sees no more of its flow until it is set anew.
  public var failures: [UInt32: String] = [:]
  /// What the kernel's side of the workers has counted, by name; none without one.
  public var kernel: [String: UInt64] = [:]
  /// Connections in the table now.
  public var connections = 0
  /// Octets of packet memory in use.
  public var memoryInUse = 0
  /// Octets of packet memory reserved from the system.
  public var memoryReserved = 0

  public init() {}

  /// Adds what another worker's engine counted.
  public mutating func add(_ other: Statistics) {
    engine.add(other.engine)
    for (id, counters) in other.flows { flows[id, default: FlowCounters()].add(counters) }
    for (id, counters) in other.modules {
      guard var sum = modules[id] else {
        modules[id] = counters
        continue
      }
      sum.common.add(counters.common)
      for index in sum.own.indices { sum.own[index] &+= counters.own[index] }
      modules[id] = sum
    }
    failures.merge(other.failures) { first, _ in first }
    kernel.merge(other.kernel, uniquingKeysWith: &+)
    connections += other.connections
    memoryInUse += other.memoryInUse
    memoryReserved += other.memoryReserved
  }
}

/// One connection, as `flowctl conn list` shows it.
public struct ConnectionInfo: Sendable {
  /// One of the two directions.
  public struct Direction: Sendable {
    /// ``Flow/id`` of the flow that it belongs to.
    public var flow: UInt32?
    /// Octets that arrived from the source, in order.
    public var octetsIn: UInt64
    /// Octets that left for the destination.
    public var octetsOut: UInt64
    /// Octets that modules hold.
    public var held: Int
    /// Octets that left and are not yet acknowledged.
    public var unacknowledged: Int
    /// How far the sequence numbers of the two sides stand apart now.
    public var shift: Int
    /// Entries of the sequence map: edits that are not yet acknowledged.
    public var mapEntries: Int

    public init(
      flow: UInt32?, octetsIn: UInt64, octetsOut: UInt64, held: Int, unacknowledged: Int, shift: Int, mapEntries: Int
    ) {
      self.flow = flow
      self.octetsIn = octetsIn
      self.octetsOut = octetsOut
      self.held = held
      self.unacknowledged = unacknowledged
      self.shift = shift
      self.mapEntries = mapEntries
    }
  }

  /// Where a module stands in one direction of the connection.
  public struct Module: Sendable {
    /// ``AttachedModule/id``
    public let id: UInt32
    public let direction: ConnectionIdentity.Direction
    /// Whether it works on this direction as its peer.
    public let isPeer: Bool
    /// How far it is in the octets that have come to it since its stage is there; nil where it takes no more part.
    public let head: UInt64?
    /// How many those are.
    public let tail: UInt64?
    /// Octets that it has in its hands, as they are now: those from head to tail with its edits.
    public let held: UInt64
    /// Octets that it has let go, as they have left it.
    public let released: UInt64
    /// Packets or datagrams that have come to it, where it gets them one by one; nil of a stream.
    public let packets: UInt64?
    /// `working`, `retiring`, `offloaded`, `ended` with the connection, `skipped:` or `failed:` and why.
    public let state: String

    public init(
      id: UInt32, direction: ConnectionIdentity.Direction, isPeer: Bool, head: UInt64? = nil, tail: UInt64? = nil,
      held: UInt64? = nil, released: UInt64? = nil, packets: UInt64? = nil, state: String
    ) {
      self.id = id
      self.direction = direction
      self.isPeer = isPeer
      self.head = head
      self.tail = tail
      self.held = held ?? (tail ?? 0) - (head ?? 0)
      self.released = released ?? head ?? 0
      self.packets = packets
      self.state = state
    }
  }

  /// Unique within an engine.
  public var id: UInt64
  public var clientAddress: IPAddress
  public var clientPort: UInt16
  public var serverAddress: IPAddress
  public var serverPort: UInt16
  /// `syn-sent`, `syn-received`, `established`, `closing`, `time-wait`, `closed`, `cut` or `offloaded`; of UDP `udp`, `cut` or
  /// `offloaded`; or why it is never edited: `midstream`, `one-sided`,
  /// `signed`, `multipath`, `syn-data` or `translated`.
  public var state: String
  public var isEdited: Bool
  /// Since it was first seen.
  public var age: Nanoseconds
  /// Since its last packet.
  public var idle: Nanoseconds
  public var toServer: Direction
  public var toClient: Direction
  public var modules: [Module]

  public init(
    id: UInt64, clientAddress: IPAddress, clientPort: UInt16, serverAddress: IPAddress, serverPort: UInt16,
    state: String, isEdited: Bool, age: Nanoseconds, idle: Nanoseconds, toServer: Direction, toClient: Direction,
    modules: [Module] = []
  ) {
    self.id = id
    self.clientAddress = clientAddress
    self.clientPort = clientPort
    self.serverAddress = serverAddress
    self.serverPort = serverPort
    self.state = state
    self.isEdited = isEdited
    self.age = age
    self.idle = idle
    self.toServer = toServer
    self.toClient = toClient
    self.modules = modules
  }
}
