import Engine
import ModuleTesting
import Testing

/// Wrong where a segment ends within a word.
private struct Careless: ProcessingModule {
  static let description = ModuleDescription(kind: "careless", access: .edit, help: "Replaces what it sees.")

  init(_ arguments: Arguments) {}

  mutating func process(_ window: inout Window) {
    while let place = window.find("cat") { window.replace(place..<place + 3, with: Array("dog".utf8)) }
    window.releaseAll()
  }
}

struct CheckTests {
  private let input = Array("cat and cat and cat".utf8)
  private let wanted = Array("dog and dog and dog".utf8)

  @Test func findsAModuleThatMindsHowItsStreamIsCut() throws {
    let found = #expect(throws: Difference.self) { try check(Careless.self, on: input) { _ in wanted } }
    let difference = try #require(found)
    #expect(difference.input == input && difference.wanted == wanted && difference.output != wanted)
    #expect(difference.pieces.reduce(0, +) == input.count)
    // The seed does it again, whatever came before it.
    let seeds = difference.seed..<difference.seed + 1
    let again = #expect(throws: Difference.self) { try check(Careless.self, on: input, seeds: seeds) { _ in wanted } }
    #expect(again?.pieces == difference.pieces && again?.output == difference.output)
    #expect("\(difference)".contains("seeds: \(seeds)"))
  }

  @Test func cutsInEveryWay() throws {
    // Two words one behind the other in one piece, and every octet by itself.
    var sizes: Set<Int> = []
    for seed in 0..<100 {
      let found = #expect(throws: Difference.self) {
        try check(Careless.self, on: input, seeds: seed..<seed + 1) { _ in [] }
      }
      sizes.formUnion(found?.pieces ?? [])
    }
    #expect(sizes.isSuperset(of: [1, 2, 7, input.count]))
  }
}
