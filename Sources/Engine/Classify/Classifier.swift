/// Finds the rule of highest priority that matches a packet.
///
/// Tuple space search (Srinivasan, Suri, Varghese: Packet Classification using Tuple Space Search, SIGCOMM 1999), as
/// in Open vSwitch: the rules that look at the same bits share a hash table, keyed by those bits. A look-up costs one
/// probe a table, whatever the number of rules in it, best table first, and stops where nothing better can come. It
/// allocates nothing.
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

  /// The index of the rule that `key` may well belong to, if one does not look at what only the link and the marking tell:
  /// for the peer direction of a SYN, of which no packet has been seen.
  func lookupWithoutLink(_ key: FlowKey) -> Int? { rulesWithoutLink.lookup(key).map { order[$0] } }
}

/// Ranked keys, one hash table for every mask. Rank 0 is the best; keys are inserted in the order of their ranks.
private struct TupleSpace {
  private struct Tuple {
    let mask: FlowKey
    /// Ranks by masked key.
    var ranks: [MaskedKey: Int]
    let bestRank: Int
  }

  /// By best rank, as they came.
  private var tuples: [Tuple] = []
  private var indices: [MaskedKey: Int] = [:]

  mutating func insert(_ key: FlowKey, mask: FlowKey, rank: Int) {
    let key = MaskedKey(key: key)
    guard let index = indices[MaskedKey(key: mask)] else {
      indices[MaskedKey(key: mask)] = tuples.count
      tuples.append(Tuple(mask: mask, ranks: [key: rank], bestRank: rank))
      return
    }
    if tuples[index].ranks[key] == nil { tuples[index].ranks[key] = rank }
  }

  func lookup(_ key: FlowKey) -> Int? {
    var best: Int?
    for tuple in tuples {
      if let best, best < tuple.bestRank { return best }
      guard let rank = tuple.ranks[MaskedKey(key: key.masked(by: tuple.mask))] else { continue }
      best = min(best ?? rank, rank)
    }
    return best
  }
}

/// A key under a mask, as the tables hash it.
///
/// What is in the tables comes from the rules alone, which packets cannot add to: a hostile packet cannot make a
/// chain longer. So the eight words are mixed into one without a seed, and only that one goes through Swift's seeded
/// hash, which is what the time would go into.
private struct MaskedKey: Hashable {
  let key: FlowKey

  func hash(into hasher: inout Hasher) {
    let words = key.words
    let pairs = (
      Self.mix(words[0] ^ 0xa076_1d64_78bd_642f, words[1] ^ 0xe703_7ed1_a0b4_28db),
      Self.mix(words[2] ^ 0x8ebc_6af0_9c88_c6e3, words[7] ^ 0x5899_65cc_7537_4cc3),
      Self.mix(words[3] ^ 0x1d8e_4e27_c47d_124f, words[4] ^ 0xeb44_acca_b455_d165),
      Self.mix(words[5] ^ 0x9e37_79b9_7f4a_7c15, words[6] ^ 0xbf58_476d_1ce4_e5b9)
    )
    // Rotated, so that source and destination exchanged make another hash.
    hasher.combine(pairs.0 ^ (pairs.1 &<< 1 | pairs.1 &>> 63) ^ (pairs.2 &<< 2 | pairs.2 &>> 62) ^ pairs.3)
  }

  /// The two halves of the product, folded.
  @inline(__always) private static func mix(_ left: UInt64, _ right: UInt64) -> UInt64 {
    let product = left.multipliedFullWidth(by: right)
    return product.high ^ product.low
  }
}
