import ModuleTesting
import Testing

@testable import Engine

@Suite struct SequenceMapTests {
  /// What left, octet by octet: the obvious model that the map is compared with.
  private struct Model {
    /// For every octet of the source: where it stands in what left, nil where it was removed.
    var images: [Int?] = []
    /// Octets that left.
    var output = 0
  }

  private static let first = UInt32.max - 300

  private static func input(_ position: Int) -> InSequence { InSequence(first) + position }
  private static func output(_ position: Int) -> OutSequence { OutSequence(first) + position }

  private static func append(_ map: inout SequenceMap, _ model: inout Model, _ random: inout SplitMix, told: Int) {
    let count = Int.random(in: 1...6, using: &random)
    let next = map.inputEnd
    let slab = SlabID(index: 0)
    switch Int.random(in: 0..<4, using: &random) {
    case 0:
      map.append(.removed(next, UInt32(count)), acknowledged: input(told))
      model.images += [Int?](repeating: nil, count: count)
    case 1:
      map.append(.inserted(slab, 0, UInt32(count)), acknowledged: input(told))
      model.output += count
    default:
      map.append(.kept(slab, 0, UInt32(count), source: next), acknowledged: input(told))
      model.images += (0..<count).map { model.output + $0 }
      model.output += count
    }
  }

  /// The position up to which `number` acknowledges, as an offset from the first.
  private static func acknowledged(_ map: borrowing SequenceMap, _ position: Int) -> Int {
    map.acknowledgement(output(position)) - input(0)
  }

  @Test func agreesWithAnOctetwiseModel() {
    for seed in 0..<300 as Range<UInt64> {
      var random = SplitMix(seed: seed)
      var map = SequenceMap(start: Self.input(0))
      var model = Model()
      var una = 0
      var told = 0
      for _ in 0..<60 {
        Self.append(&map, &model, &random, told: told)
        #expect(map.inputEnd == Self.input(model.images.count) && map.outputEnd == Self.output(model.output))
        if random.once(in: 3) {
          una = Int.random(in: una...model.output, using: &random)
          let acknowledgement = Self.acknowledged(map, una)
          #expect(acknowledgement >= told, "an acknowledgement went back, seed \(seed)")
          told = max(told, acknowledgement)
          map.prune(acknowledged: Self.output(una))
          #expect(Self.acknowledged(map, una) == acknowledgement, "pruning changed an acknowledgement, seed \(seed)")
        }
        check(map, model, from: una, told: told, seed)
      }
    }
  }

  private func check(_ map: borrowing SequenceMap, _ model: Model, from una: Int, told: Int, _ seed: UInt64) {
    var previous = told
    for position in una...model.output {
      let acknowledgement = Self.acknowledged(map, position)
      #expect(acknowledgement >= previous, "not monotonic at \(position), seed \(seed)")
      previous = acknowledgement
      // Safe: nothing is acknowledged that the destination lacks.
      for image in model.images[min(told, acknowledgement)..<acknowledgement] {
        #expect(image.map { $0 < position } ?? true, "acknowledges too much at \(position), seed \(seed)")
      }
      // Live: it reaches the last octet that the destination has, or, where that one holds an insertion, the one before.
      let last = model.images.lastIndex { $0.map { $0 < position } ?? false } ?? 0
      #expect(acknowledgement >= last, "acknowledges too little at \(position), seed \(seed)")
      // What the source then sends again covers the first octet that is missing.
      if position < model.output, acknowledgement < model.images.count {
        let start = map.start(Self.input(acknowledgement)) - Self.output(0)
        #expect(start <= position, "a retransmission would not cover \(position), seed \(seed)")
      }
    }
    #expect(Self.acknowledged(map, model.output) == model.images.count)
    for number in stride(from: told, to: model.images.count, by: 3) {
      let end = min(number + 4, model.images.count)
      let range = (map.start(Self.input(number)) - Self.output(0), map.end(Self.input(end)) - Self.output(0))
      for image in model.images[number..<end].compactMap({ $0 }) where image >= una {
        #expect(range.0 <= image && image < range.1, "a resent range lacks \(image), seed \(seed)")
      }
    }
    for left in stride(from: una, to: model.output, by: 5) {
      let right = min(left + 7, model.output)
      guard let block = map.block(Self.output(left), Self.output(right)) else { continue }
      let numbers = block.left - Self.input(0)..<block.right - Self.input(0)
      for image in model.images[max(told, numbers.lowerBound)..<max(told, numbers.upperBound)].compactMap({ $0 }) {
        #expect((left..<right).contains(image), "a SACK block claims too much, seed \(seed)")
      }
    }
  }

  @Test("11. the map stays small whatever is edited") func row11_staysSmallWhateverIsEdited() {
    var random = SplitMix(seed: 1)
    var map = SequenceMap(start: Self.input(0))
    var model = Model()
    var largest = 0
    for step in 1...200_000 {
      Self.append(&map, &model, &random, told: 0)
      largest = max(largest, map.runCount)
      guard step.isMultiple(of: 100) else { continue }
      map.prune(acknowledged: map.outputEnd)
      #expect(map.runCount == 1)
    }
    #expect(largest <= 101)
  }

  @Test func isIdentityUntilSomethingMoves() {
    var map = SequenceMap(start: InSequence(5))
    map.appendKept(100)
    #expect(map.isIdentity && map.jumps == 0)
    map.append(.removed(InSequence(105), 3), acknowledged: InSequence(5))
    #expect(!map.isIdentity && map.shift == -3)
    // An acknowledgement at the edge of what was removed goes through it.
    #expect(map.acknowledgement(OutSequence(105)) == InSequence(108))
  }
}
