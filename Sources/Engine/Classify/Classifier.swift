/// Finds the rule of highest priority that matches a packet.
///
/// Tuple space search (Srinivasan, Suri, Varghese: Packet Classification using Tuple Space Search, SIGCOMM 1999), as in Open
/// vSwitch: the rules that look at the same bits share a hash table, keyed by those bits. A look-up costs one probe a table,
/// whatever the number of rules in it, best table first, and stops where nothing better can come. It allocates nothing.
public struct Classifier: Sendable {
  private let rules: TupleSpace
  private let rulesWithoutLink: TupleSpace
  /// The index of the rule of each rank.
  private let order: [Int]

  /// - Parameter rules: Matches and their priorities; of equal priorities the first comes first.
  init(_ rules: [(Match, Int)]) {
    order = rules.indices.sorted { (rules[$0].1, $1) > (rules[$1].1, $0) }
    var all = TupleSpace()
    var withoutLink = TupleSpace()
    for (rank, index) in order.enumerated() {
      for (value, mask) in rules[index].0.keys {
        all.insert(value, mask: mask, rank: rank)
        withoutLink.insert(value.withoutLink, mask: mask.withoutLink, rank: rank)
      }
    }
    self.rules = all
    self.rulesWithoutLink = withoutLink
  }

  /// The index of the rule that `key` belongs to.
  func lookup(_ key: FlowKey) -> Int? { rules.lookup(key).map { order[$0] } }

  /// Whether any rule could match `key` if one did not look at what only the link and the marking tell: for the peer direction
  /// of a SYN, of which no packet has been seen.
  func mayMatch(_ key: FlowKey) -> Bool { rulesWithoutLink.lookup(key) != nil }
}

/// Ranked keys, one hash table for every mask. Rank 0 is the best; keys are inserted in the order of their ranks.
private struct TupleSpace {
  private struct Tuple {
    let mask: FlowKey
    /// Ranks by masked key. Swift's dictionaries are seeded at random, so nobody can prepare collisions.
    var ranks: [FlowKey: Int]
    let bestRank: Int
  }

  /// By best rank, as they came.
  private var tuples: [Tuple] = []
  private var indices: [FlowKey: Int] = [:]

  mutating func insert(_ key: FlowKey, mask: FlowKey, rank: Int) {
    guard let index = indices[mask] else {
      indices[mask] = tuples.count
      tuples.append(Tuple(mask: mask, ranks: [key: rank], bestRank: rank))
      return
    }
    if tuples[index].ranks[key] == nil { tuples[index].ranks[key] = rank }
  }

  func lookup(_ key: FlowKey) -> Int? {
    var best: Int?
    for tuple in tuples {
      if let best, best < tuple.bestRank { return best }
      guard let rank = tuple.ranks[key.masked(by: tuple.mask)] else { continue }
      best = min(best ?? rank, rank)
    }
    return best
  }
}
