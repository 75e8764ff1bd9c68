import ModuleTesting
import Testing

@testable import Engine

extension Middlebox {
  /// Lets `threads` work until nothing moves any more, and returns what leaves.
  mutating func settle(_ threads: ManualThreads) -> [TCPPacket] {
    var out: [TCPPacket] = []
    threads.stepAll()
    while engine.hasReturns {
      out += collect()
      threads.stepAll()
    }
    return out
  }
}

/// Two boxes with the same modules, inline in the one, on threads in the other: what leaves must be the same.
struct Twins: ~Copyable {
  var inline = Middlebox()
  var threaded: Middlebox
  let threads = ManualThreads()

  init() {
    var settings = Settings()
    settings.threads = threads
    threaded = Middlebox(settings)
  }

  mutating func settle() -> [TCPPacket] { threaded.settle(threads) }

  @discardableResult
  mutating func receive(_ packet: TCPPacket, isSound: Bool = true, isGSO: Bool = false) -> [TCPPacket] {
    let straight = inline.receive(packet, isGSO: isGSO, isSound: isSound, at: .zero)
    let taken = threaded.receive(packet, isGSO: isGSO, isSound: isSound, at: .zero)
    let expected = [straight.packet].compactMap { $0 } + straight.injected
    let left = [taken.packet].compactMap { $0 } + taken.injected + settle()
    #expect(left.map(\.bytes) == expected.map(\.bytes))
    return left
  }

  /// What is the same whatever the way: what the modules have counted, and failures.
  func expectSameCounters() {
    let (one, other) = (inline.engine.statistics, threaded.engine.statistics)
    #expect(one.modules.mapValues { $0.own } == other.modules.mapValues { $0.own })
    #expect(
      one.modules.mapValues { $0.common.named.map(\.value) }
        == other.modules.mapValues { $0.common.named.map(\.value) })
    #expect(one.engine.moduleFailures == other.engine.moduleFailures)
    #expect(one.engine.packets == other.engine.packets)
  }
}
