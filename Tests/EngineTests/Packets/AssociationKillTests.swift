import ModuleTesting
import Testing

@testable import Engine

/// Associations of UDP that the control side asks for by their number, and ends.
@Suite struct AssociationKillTests {
  private static let client = DatagramTests.client
  private static let server = DatagramTests.server

  @Test(arguments: [AttachedModule.RunMode.inline, .thread]) func nothingPassesUntilBothEndsAreSilent(
    run: AttachedModule.RunMode
  ) throws {
    let threads = ManualThreads()
    var settings = Settings()
    settings.threads = threads
    var box = Middlebox(settings)
    box.attach([AttachedModule(1, ByteEditor(rule: [UInt8(ascii: "a"): []]), run: run)])
    _ = box.receive(DatagramTests.datagram("ab"), at: .zero)
    _ = box.settle(threads)
    let other = Endpoint(address: Self.client.address, port: 5_001)
    _ = box.receive(DatagramTests.datagram("ab", from: other), at: .zero)
    // One waits for the thread when the association ends.
    _ = box.receive(DatagramTests.datagram("late"), at: .zero)

    let ids = box.engine.connections(limit: 9).map(\.id)
    #expect(box.engine.connection(ids[0])?.clientPort == 5_000)
    let isKilled = box.engine.kill(connection: ids[0], at: .zero)
    #expect(isKilled)
    _ = box.takeInjections()
    #expect(box.settle(threads).map(\.line).filter { $0.contains("5000") } == [])
    #expect(box.engine.connection(ids[0])?.state == "cut")
    #expect(box.engine.statistics.engine.cut == 1)
    // Its module is not wanted any more.
    #expect(threads.count == (run == .thread ? 1 : 0))

    let refused = box.receive(DatagramTests.datagram("b"), at: .zero + .seconds(100))
    #expect(refused.kind == .dropped)
    #expect(refused.injected.map(\.line) == ["10.0.1.2 > 10.0.0.1 icmp 3/13"])
    let answer = DatagramTests.datagram("b", from: Self.server, to: Self.client)
    #expect(box.receive(answer, at: .zero + .seconds(101)).kind == .dropped)
    #expect(box.engine.connection(ids[1])?.state == "udp")
    // A module that comes later does not revive it.
    box.attach([AttachedModule(2, ByteEditor(rule: [:]), run: run)], at: .zero + .seconds(102))
    #expect(box.receive(DatagramTests.datagram("b"), at: .zero + .seconds(102)).kind == .dropped)
    let isKilledAgain = box.engine.kill(connection: ids[0], at: .zero + .seconds(102))
    #expect(isKilledAgain)
    #expect(box.engine.statistics.engine.cut == 1)

    _ = box.advance(to: .zero + .seconds(290))
    _ = box.settle(threads)
    #expect(box.engine.connection(ids[0]) == nil)
    _ = box.receive(DatagramTests.datagram("b"), at: .zero + .seconds(290))
    #expect(box.engine.connections(limit: 9).map(\.state) == ["udp"])
  }

  @Test func anotherNumberIsNoAssociation() throws {
    var box = Middlebox()
    try box.configure([ByteEditor(rule: [:])])
    _ = box.receive(DatagramTests.datagram("a"), at: .zero)
    #expect(box.engine.connection(2) == nil)
    let isKilled = box.engine.kill(connection: 2, at: .zero)
    #expect(!isKilled)
    #expect(box.receive(DatagramTests.datagram("a"), at: .zero).kind == .accepted)
  }

  @Test func whatTheKernelForwardsIsNotEndedHere() throws {
    var box = Middlebox()
    try box.configure(flows: [("udp,udp_dst=53", [DatagramTests.Obedient()])])
    _ = box.receive(DatagramTests.datagram("O"), at: .zero)
    let id = try #require(box.engine.connections(limit: 1).first).id
    #expect(box.engine.connection(id)?.state == "offloaded")
    let isKilled = box.engine.kill(connection: id, at: .zero)
    #expect(!isKilled)
  }
}

extension Middlebox {
  /// Swaps in a flow of everything, with a stage for each of `modules`.
  mutating func attach(_ modules: [AttachedModule], onFail: Flow.FailurePolicy = .pass, at now: Instant = .zero) {
    let flow = Flow(id: 1, name: "f", match: .any, priority: 0, onFail: onFail, stages: modules.map { [$0] })
    engine.apply(Configuration(flows: [flow]), at: now)
  }
}
