import Engine
import Synchronization

/// The mappings of one translation, which all its copies share: the two directions of a translated connection may come to
/// different workers.
///
/// Sources are mapped endpoint by endpoint, whomever they speak to (RFC 4787 REQ-1); destinations for each client that speaks to
/// them. Mappings that are silent for as long as their kind may be are forgotten as soon as another is made.
final class MappingTable: Sendable {
  /// Names one side of a mapping.
  struct Key: Hashable, Sendable {
    let protocolNumber: UInt8
    let near: TransportAddress
    let far: TransportAddress?

    init(_ protocolNumber: UInt8, _ near: TransportAddress, _ far: TransportAddress? = nil) {
      self.protocolNumber = protocolNumber
      self.near = near
      self.far = far
    }
  }

  struct Mapping: Sendable {
    /// What is hidden, and what is shown for it.
    let inside: TransportAddress
    let outside: TransportAddress
  }

  /// What a packet tells of its connection.
  struct News: Sendable {
    let isFromInside: Bool
    let isOpening: Bool
    let isFinish: Bool
    let isReset: Bool
  }

  struct Timeouts: Sendable {
    let established: Nanoseconds
    let transitory: Nanoseconds
    let udp: Nanoseconds
    let icmp: Nanoseconds
  }

  /// Which of its two keys a mapping is looked up by.
  enum Side { case forward, backward }

  fileprivate enum Kind: Int, CaseIterable {
    case established, transitory, udp, icmp
  }

  fileprivate struct Node {
    let forward: Key
    let backward: Key
    let mapping: Mapping
    /// Where its port came from.
    let ports: PortKey?
    var kind: Kind
    var lastUse: Instant
    var older: Int?
    var newer: Int?
    /// Of TCP: from which sides there have been packets, and FINs.
    var hasAnswer = false
    var finishes: (inside: Bool, outside: Bool) = (false, false)
    var isClosing = false
  }

  fileprivate struct State {
    var forward: [Key: Int] = [:]
    var backward: [Key: Int] = [:]
    var nodes: ContiguousArray<Node?> = []
    var vacant: ContiguousArray<Int> = []
    /// By kind: the mappings in the order of their last use.
    var ends = [(oldest: Int?, newest: Int?)](repeating: (nil, nil), count: Kind.allCases.count)
    var ports: [PortKey: FreePorts] = [:]
    var lastTold: Instant?
  }

  /// Ports are those of one protocol and address, and of the range that they were taken from.
  fileprivate struct PortKey: Hashable {
    let protocolNumber: UInt8
    let address: IPAddress
    let range: ClosedRange<UInt16>
  }

  private let state = Mutex(State())

  /// Mappings there are.
  var count: Int { state.withLock { $0.forward.count } }

  /// The mapping of `key`, which has been used with that; without `news` it is only looked at.
  func find(_ key: Key, _ side: Side, _ news: News?, _ timeouts: Timeouts, at now: Instant) -> Mapping? {
    state.withLock { state -> Mapping? in
      guard let slot = side == .forward ? state.forward[key] : state.backward[key] else { return nil }
      guard !state.isExpired(slot, timeouts, at: now) else {
        state.remove(slot)
        return nil
      }
      if let news { state.use(slot, news, at: now) }
      return state.nodes[slot]?.mapping
    }
  }

  /// Maps a source to an address and a port of `pool`, its own port where that is free; nil where none is, or there are `limit`
  /// mappings.
  func map(
    _ protocolNumber: UInt8, _ source: TransportAddress, to pool: AddressPool, limit: Int, _ news: News,
    _ timeouts: Timeouts, at now: Instant
  ) -> Mapping? {
    state.withLock { state -> Mapping? in
      // Another worker may have been faster.
      let forward = Key(protocolNumber, source)
      if let slot = state.forward[forward] {
        state.use(slot, news, at: now)
        return state.nodes[slot]?.mapping
      }
      state.expire(timeouts, at: now)
      guard state.forward.count < limit else { return nil }
      for attempt in 0..<pool.count {
        let address = pool.address(attempt, for: source.address)
        let key = PortKey(protocolNumber: protocolNumber, address: address, range: pool.ports)
        guard let port = state.ports[key, default: FreePorts(pool.ports)].take(source.port) else { continue }
        let outside = TransportAddress(address: address, port: port)
        // A mapping from before `pm set` may have this port by another range.
        guard state.backward[Key(protocolNumber, outside)] == nil else {
          state.ports[key]?.giveBack(port)
          continue
        }
        let mapping = Mapping(inside: source, outside: outside)
        state.insert(mapping, forward, Key(protocolNumber, outside), ports: key, news, at: now)
        return mapping
      }
      return nil
    }
  }

  /// Maps a destination; nil where the client speaks to the same one by another name, or there are `limit` mappings.
  func map(
    _ forward: Key, to backward: Key, inside: TransportAddress, outside: TransportAddress, limit: Int, _ news: News,
    _ timeouts: Timeouts, at now: Instant
  ) -> Mapping? {
    state.withLock { state -> Mapping? in
      if let slot = state.forward[forward] { return state.nodes[slot]?.mapping }
      state.expire(timeouts, at: now)
      guard state.forward.count < limit, state.backward[backward] == nil else { return nil }
      let mapping = Mapping(inside: inside, outside: outside)
      state.insert(mapping, forward, backward, ports: nil, news, at: now)
      return mapping
    }
  }

  /// Whether it is time to say that nothing is left: once a second.
  func mayTellOfExhaustion(at now: Instant) -> Bool {
    state.withLock { state in
      if let last = state.lastTold, now < last + .seconds(1) { return false }
      state.lastTold = now
      return true
    }
  }
}

extension MappingTable.Timeouts {
  fileprivate func of(_ kind: Int) -> Nanoseconds { [established, transitory, udp, icmp][kind] }
}

extension MappingTable.State {
  fileprivate func isExpired(_ slot: Int, _ timeouts: MappingTable.Timeouts, at now: Instant) -> Bool {
    guard let node = nodes[slot] else { return true }
    return node.lastUse + timeouts.of(node.kind.rawValue) <= now
  }

  fileprivate mutating func expire(_ timeouts: MappingTable.Timeouts, at now: Instant) {
    for kind in ends.indices {
      while let slot = ends[kind].oldest, isExpired(slot, timeouts, at: now) { remove(slot) }
    }
  }

  fileprivate mutating func insert(
    _ mapping: MappingTable.Mapping, _ forwardKey: MappingTable.Key, _ backwardKey: MappingTable.Key,
    ports key: MappingTable.PortKey?, _ news: MappingTable.News, at now: Instant
  ) {
    let kind: MappingTable.Kind =
      switch forwardKey.protocolNumber {
      case 6: .transitory
      case 17: .udp
      default: .icmp
      }
    let slot = vacant.popLast() ?? nodes.count
    if slot == nodes.count { nodes.append(nil) }
    nodes[slot] = MappingTable.Node(
      forward: forwardKey, backward: backwardKey, mapping: mapping, ports: key, kind: kind, lastUse: now)
    forward[forwardKey] = slot
    backward[backwardKey] = slot
    append(slot)
    use(slot, news, at: now)
  }

  fileprivate mutating func remove(_ slot: Int) {
    guard let node = nodes[slot] else { return }
    unlink(slot)
    forward[node.forward] = nil
    backward[node.backward] = nil
    nodes[slot] = nil
    vacant.append(slot)
    if let key = node.ports { ports[key]?.giveBack(node.mapping.outside.port) }
  }

  /// Notes a packet of the mapping: how long it may be silent from now on.
  fileprivate mutating func use(_ slot: Int, _ news: MappingTable.News, at now: Instant) {
    guard var node = nodes[slot] else { return }
    unlink(slot)
    node.lastUse = now
    if node.forward.protocolNumber == 6 {
      if news.isOpening, !(node.hasAnswer && node.kind == .established) {
        node.finishes = (false, false)
        node.isClosing = false
      }
      // Of those that speak first there are the insiders of a source, the outsiders of a destination.
      if news.isFromInside == (node.forward.far != nil) { node.hasAnswer = true }
      if news.isFinish {
        if news.isFromInside { node.finishes.inside = true } else { node.finishes.outside = true }
      }
      if news.isReset || (node.finishes.inside && node.finishes.outside) { node.isClosing = true }
      node.kind = node.hasAnswer && !node.isClosing && !news.isOpening ? .established : .transitory
    }
    nodes[slot] = node
    append(slot)
  }

  private mutating func unlink(_ slot: Int) {
    guard let node = nodes[slot] else { return }
    let kind = node.kind.rawValue
    if let older = node.older { nodes[older]?.newer = node.newer } else { ends[kind].oldest = node.newer }
    if let newer = node.newer { nodes[newer]?.older = node.older } else { ends[kind].newest = node.older }
  }

  private mutating func append(_ slot: Int) {
    guard let kind = nodes[slot]?.kind.rawValue else { return }
    nodes[slot]?.older = ends[kind].newest
    nodes[slot]?.newer = nil
    if let newest = ends[kind].newest { nodes[newest]?.newer = slot } else { ends[kind].oldest = slot }
    ends[kind].newest = slot
  }
}
