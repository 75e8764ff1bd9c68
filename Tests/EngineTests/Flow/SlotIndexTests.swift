import ModuleTesting
import Testing

@testable import Engine

/// Against a dictionary, with hashes that mostly collide.
@Suite struct SlotIndexTests {
  @Test(arguments: 0..<20 as Range<UInt64>) func agreesWithADictionary(seed: UInt64) {
    var random = SplitMix(seed: seed)
    var index = SlotIndex()
    var model: [UInt32: Int] = [:]
    for _ in 0..<4_000 {
      let slot = UInt32.random(in: 0..<500, using: &random)
      // Few values, some of which stand at the end of the table, so that runs go round it.
      let hash = Int.random(in: 0..<8, using: &random) &* 0x1_0000_003f &- Int(seed % 3)
      if let known = model[slot] {
        #expect(index.find(known) { $0 == slot } == slot)
        index.remove(slot, known)
        model[slot] = nil
        #expect(index.find(known) { $0 == slot } == nil)
      } else {
        index.insert(slot, hash)
        model[slot] = hash
      }
      #expect(index.count == model.count)
    }
    for slot in 0..<500 as Range<UInt32> {
      #expect(index.find(model[slot] ?? 0) { $0 == slot } == (model[slot] == nil ? nil : slot))
    }
  }
}
