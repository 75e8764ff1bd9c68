/// The associations of one engine, found by their ends, in the order in which they were last heard of.
struct AssociationTable {
  private struct Node {
    var association: Association
    var older: Int?
    var newer: Int?
  }

  private var index: [ConnectionKey: Int] = [:]
  private var nodes: ContiguousArray<Node?> = []
  private var vacant: ContiguousArray<Int> = []
  private var oldest: Int?
  private var newest: Int?

  init() {}

  var count: Int { index.count }

  func find(_ key: ConnectionKey) -> Int? { index[key] }

  /// The association in a slot that is in use.
  subscript(slot: Int) -> Association {
    _read {
      guard nodes[slot] != nil else { preconditionFailure("no association in this slot") }
      yield nodes[slot]!.association
    }
    _modify {
      guard nodes[slot] != nil else { preconditionFailure("no association in this slot") }
      yield &nodes[slot]!.association
    }
  }

  /// Octets that the associations themselves take.
  var memory: Int { count * MemoryLayout<Node>.stride }

  /// The slots in use.
  var occupied: [Int] { nodes.indices.filter { nodes[$0] != nil } }

  /// The one that has been silent for longest.
  var leastRecent: Int? { oldest }

  mutating func insert(_ association: Association) -> Int {
    let slot: Int
    if let free = vacant.popLast() {
      slot = free
      nodes[slot] = Node(association: association)
    } else {
      slot = nodes.count
      nodes.append(Node(association: association))
    }
    index[association.key] = slot
    append(slot)
    return slot
  }

  mutating func remove(_ slot: Int) {
    guard let node = nodes[slot] else { return }
    unlink(slot)
    index[node.association.key] = nil
    nodes[slot] = nil
    vacant.append(slot)
  }

  /// Notes that something of the association has come by.
  mutating func touch(_ slot: Int, at now: Instant) {
    nodes[slot]?.association.lastDatagram = now
    guard newest != slot else { return }
    unlink(slot)
    append(slot)
  }

  private mutating func unlink(_ slot: Int) {
    guard let node = nodes[slot] else { return }
    if let older = node.older { nodes[older]?.newer = node.newer } else { oldest = node.newer }
    if let newer = node.newer { nodes[newer]?.older = node.older } else { newest = node.older }
  }

  private mutating func append(_ slot: Int) {
    nodes[slot]?.older = newest
    nodes[slot]?.newer = nil
    if let newest { nodes[newest]?.newer = slot } else { oldest = slot }
    newest = slot
  }
}
