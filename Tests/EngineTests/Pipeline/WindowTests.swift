import DequeModule
import ModuleTesting
import Testing

@testable import Engine

@Suite struct WindowTests {
  /// A window on `bytes` cut into segments at random.
  static func window(_ bytes: [UInt8], _ pool: SlabPool, _ random: inout SplitMix) -> Window {
    var queue = SegmentQueue()
    var at = 0
    while at < bytes.count {
      let count = min(Int.random(in: 1...9, using: &random), bytes.count - at)
      let place = unsafe bytes[at..<at + count].withUnsafeBytes { unsafe pool.copy($0)! }
      queue.append(.kept(place.slab, place.start, place.end, source: InSequence(UInt32(at))))
      at += count
    }
    return Window(queue, pool: pool, setting: setting(), now: .zero, false, false)
  }

  private static func setting(mayEdit: Bool = true) -> Window.Setting {
    let nobody = IPAddress(v4: 0)
    let identity = ConnectionIdentity(
      id: 1, clientAddress: nobody, clientPort: 1, serverAddress: nobody, serverPort: 2, direction: .toServer)
    return unsafe Window.Setting(
      identity: identity, mayEdit: mayEdit, own: UnsafeMutableBufferPointer(start: nil, count: 0))
  }

  @Test func editsLikeAnArray() {
    for seed in 0..<300 as Range<UInt64> {
      var random = SplitMix(seed: seed)
      let pool = SlabPool(limit: 1 << 24)
      defer { pool.destroy() }
      var model = (0..<120).map { _ in UInt8.random(in: 0...255, using: &random) }
      let original = model.count
      var window = Self.window(model, pool, &random)
      for _ in 0..<40 {
        let lower = Int.random(in: 0...model.count, using: &random)
        let upper = min(model.count, lower + Int.random(in: 0...6, using: &random))
        let bytes = (0..<Int.random(in: 0...5, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
        switch Int.random(in: 0..<3, using: &random) {
        case 0:
          window.remove(lower..<upper)
          model.removeSubrange(lower..<upper)
        case 1:
          window.insert(bytes, at: lower)
          model.insert(contentsOf: bytes, at: lower)
        default:
          window.replace(lower..<upper, with: bytes)
          model.replaceSubrange(lower..<upper, with: bytes)
        }
        #expect(window.count == model.count)
        #expect(window.copy(0..<window.count) == model, "seed \(seed)")
        if let index = model.indices.randomElement(using: &random) { #expect(window[index] == model[index]) }
      }
      // Whatever was done to it, the segments still cover the source's numbers without a hole.
      var queue = window.takeQueue()
      var next: UInt32 = 0
      for segment in queue.segments where segment.sourceCount > 0 {
        #expect(segment.source.raw == next)
        next += segment.sourceCount
      }
      #expect(next == UInt32(original))
      queue.removeAll(in: pool)
      #expect(pool.inUse <= 2_048, "slabs leak, seed \(seed)")
    }
  }

  @Test func searchesAcrossSegments() {
    let alphabet: [UInt8] = Array("abAB".utf8)
    for seed in 0..<500 as Range<UInt64> {
      var random = SplitMix(seed: seed)
      let pool = SlabPool(limit: 1 << 24)
      defer { pool.destroy() }
      let bytes = (0..<Int.random(in: 1...60, using: &random)).map { _ in alphabet.randomElement(using: &random)! }
      let wanted = (0..<Int.random(in: 1...5, using: &random)).map { _ in alphabet.randomElement(using: &random)! }
      let ignoringCase = random.once(in: 2)
      let pattern = Pattern(wanted, ignoringCase: ignoringCase)
      var window = Self.window(bytes, pool, &random)
      let from = Int.random(in: 0...bytes.count, using: &random)
      func fold(_ list: [UInt8]) -> [UInt8] { ignoringCase ? list.map { $0 | 0x20 } : list }
      let (hay, needle) = (fold(bytes), fold(wanted))
      var expected = Window.Finding.none
      for start in from..<max(from, bytes.count) {
        let rest = Array(hay[start...])
        if rest.starts(with: needle) {
          expected = .match(at: start)
          break
        }
        if needle.starts(with: rest) {
          expected = .partial(at: start)
          break
        }
      }
      #expect(window.search(pattern, from: from) == expected, "seed \(seed)")
      var queue = window.takeQueue()
      queue.removeAll(in: pool)
    }
  }

  @Test func searchesWhereNearlyEveryByteBeginsAMatch() {
    for seed in 0..<50 as Range<UInt64> {
      var random = SplitMix(seed: seed)
      let pool = SlabPool(limit: 1 << 24)
      defer { pool.destroy() }
      let bytes = (0..<4_000).map { _ in random.once(in: 3) ? UInt8(ascii: "y") : UInt8(ascii: "z") }
      let from = Int.random(in: 0...bytes.count / 2, using: &random)
      let wanted = Array(bytes[3_800..<3_800 + Int.random(in: 1...40, using: &random)])
      var window = Self.window(bytes, pool, &random)
      let expected = (from...3_800).first { bytes[$0...].starts(with: wanted) }
      #expect(window.search(Pattern(wanted), from: from).start == expected, "seed \(seed)")
      var queue = window.takeQueue()
      queue.removeAll(in: pool)
    }
  }

  @Test func lendsAPartOfItself() {
    var random = SplitMix(seed: 4)
    let pool = SlabPool(limit: 1 << 24)
    defer { pool.destroy() }
    var window = Self.window(Array("headBODYtail".utf8), pool, &random)
    let part = window.narrowed(to: 4..<8, mustRelease: true) { part in
      #expect(part.mustRelease && part.count == 4 && part.copy(0..<4) == Array("BODY".utf8))
      part.remove(1..<3)
      part.release(upTo: 1)
    }
    #expect(part.released == 1 && part.count == 2)
    #expect(window.released == 0 && !window.mustRelease)
    #expect(window.copy(0..<window.count) == Array("headBYtail".utf8))
    var queue = window.takeQueue()
    queue.removeAll(in: pool)
  }

  @Test(arguments: [
    "it reads at 12 of 12 octets", "it works at 3 to 13 of 12 octets", "it edits octets that it has released",
    "it is declared to read, and edits", "it has no counter number 1", "only run(_:) may read",
  ])
  func whatAModuleMayNotDoIsNotDone(fault: String) {
    var random = SplitMix(seed: 5)
    let pool = SlabPool(limit: 1 << 24)
    defer { pool.destroy() }
    var queue = Self.window(Array("headBODYtail".utf8), pool, &random).takeQueue()
    var window = Window(
      queue, pool: pool, setting: Self.setting(mayEdit: fault != "it is declared to read, and edits"),
      now: .zero, false, false)
    switch fault {
    case "it reads at 12 of 12 octets":
      let octet = window[12]
      #expect(octet == 0)
    case "it works at 3 to 13 of 12 octets": window.remove(3..<13)
    case "it edits octets that it has released":
      window.release(upTo: 5)
      window.insert("x", at: 4)
    case "it is declared to read, and edits": window.remove(0..<1)
    case "it has no counter number 1": window.count(1)
    default:
      let isMore = window.read()
      #expect(!isMore)
    }
    #expect(window.requests.fault == fault)
    #expect(window.copy(0..<window.count) == Array("headBODYtail".utf8))
    queue = window.takeQueue()
    queue.removeAll(in: pool)
  }
}
