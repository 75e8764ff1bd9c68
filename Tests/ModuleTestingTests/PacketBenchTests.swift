import Engine
import ModuleTesting
import Testing

/// Drops, refuses, changes or fails over a datagram, as its first octet says; the last octet of an answer becomes `!`.
private struct Porter: ProcessingModule {
  struct Trouble: Error {}
  static let description = ModuleDescription(
    kind: "porter", layer: .ip, access: .edit, peer: true,
    parameters: [Parameter("mark", .integer(0...255), default: "33", help: "-")],
    counters: ["seen"], help: "-")

  private let mark: UInt8
  init(_ arguments: Arguments) { mark = UInt8(arguments.integer("mark")) }

  mutating func process(_ window: inout Window) throws {
    window.count(0)
    guard let packet = window.packet, packet.protocolNumber == 17, packet.payloadOffset < window.count else { return }
    switch window[packet.payloadOffset] {
    case UInt8(ascii: "D"): window.drop()
    case UInt8(ascii: "R"): window.reset()
    case UInt8(ascii: "C"): window.replace(window.count - 1..<window.count, with: [mark])
    case UInt8(ascii: "E"): window.emit("seen", ["from": "\(packet.source)"])
    case UInt8(ascii: "F"): throw Trouble()
    default: break
    }
  }

  mutating func processPeer(_ window: inout Window) {
    window.replace(window.count - 1..<window.count, with: [mark])
  }
}

/// Sets the window of segments.
private struct Clamp: ProcessingModule {
  static let description = ModuleDescription(kind: "clamp", layer: .tcp, access: .edit, help: "-")
  init(_ arguments: Arguments) {}
  mutating func process(_ window: inout Window) { window.replace(14..<16, with: [0, 9]) }
}

/// Lets three packets pass.
private struct Quota: ProcessingModule {
  static let description = ModuleDescription(kind: "quota", layer: .ip, access: .read, help: "-")
  private var left = 3
  init(_ arguments: Arguments) {}
  mutating func process(_ window: inout Window) {
    if left == 0 { window.drop() } else { left -= 1 }
  }
}

/// Would read from a stream.
private struct Misplaced: ProcessingModule {
  static let description = ModuleDescription(kind: "misplaced", layer: .ip, access: .read, needsThread: true, help: "-")
  init(_ arguments: Arguments) {}
}

/// Asks to be called again when there is no packet.
private struct Waking: ProcessingModule {
  static let description = ModuleDescription(kind: "waking", layer: .ip, access: .read, help: "-")
  init(_ arguments: Arguments) {}
  mutating func process(_ window: inout Window) { window.wake(after: .milliseconds(40)) }
}

/// The same at the layer `tcp`.
private struct WakingSegments: ProcessingModule {
  static let description = ModuleDescription(kind: "waking-segments", layer: .tcp, access: .read, help: "-")
  init(_ arguments: Arguments) {}
  mutating func process(_ window: inout Window) { window.wake(after: .milliseconds(40)) }
}

struct PacketBenchTests {
  static func question(_ text: String, _ host: String = "10.0.0.5") -> Packet {
    .udp(host, 40_000, to: host.contains(":") ? "fd00::9" : "192.0.2.1", 53, payload: Array(text.utf8))
  }

  @Test(arguments: [false, true], ["10.0.0.5", "fd00::5"])
  func tellsWhatBecomesOfAPacket(runsAsThread: Bool, host: String) throws {
    let bench = try PacketBench(Porter.self, match: "ip_proto=17", runsAsThread: runsAsThread)
    let (passed, changed) = (Self.question("hello", host), Self.question("Change.", host))
    let outcome = bench.receive(passed)
    #expect(outcome.fate == .passed && outcome.packet == passed && outcome.injected.isEmpty)
    let other = bench.receive(changed)
    #expect(other.fate == .changed && other.leaving == [Self.question("Change!", host)])
    #expect("\(bench.receive(Self.question("Drop", host)))" == "dropped")
    let refused = bench.receive(Self.question("Refuse", host))
    #expect(refused.fate == .refused && refused.packet == nil && refused.injected.count == 1)
    #expect(refused.leaving[0].destination == host)
    #expect(bench.count("seen") == 4)
    #expect(bench.count("edits") == 1)
    #expect(bench.count("nothing") == nil)
    bench.receive(Self.question("Emit", host))
    #expect(bench.events == [ModuleEvent.Content("seen", ["from": host])])
    #expect(bench.failure == nil)
  }

  @Test(arguments: [false, true]) func whatDoesNotMatchIsOfThePeerDirection(runsAsThread: Bool) throws {
    let bench = try PacketBench(Porter.self, match: "udp,udp_dst=53", runsAsThread: runsAsThread)
    let answer = Packet.udp("192.0.2.1", 53, to: "10.0.0.5", 40_000, payload: Array("Drop".utf8))
    #expect(bench.receive(answer).packet?.payload.last == UInt8(ascii: "!"))
    try bench.set(["mark": "63"])
    #expect(bench.receive(answer).packet?.payload.last == UInt8(ascii: "?"))
  }

  @Test(arguments: [false, true], [false, true]) func failureIsTold(runsAsThread: Bool, cutsOff: Bool) throws {
    let bench = try PacketBench(Porter.self, match: "udp", runsAsThread: runsAsThread, cutsOffFailures: cutsOff)
    #expect(bench.receive(Self.question("Fail")).fate == (cutsOff ? .dropped : .passed))
    #expect(bench.failure == "it threw: Trouble()")
    #expect(bench.receive(Self.question("Change.")).fate == (cutsOff ? .dropped : .passed))
  }

  @Test func argumentsAndMatchAreRefused() {
    #expect(throws: ArgumentError.self) { try PacketBench(Porter.self, ["mark": "256"]) }
    #expect(throws: MatchError.self) { try PacketBench(Porter.self, match: "udp_dst=53") }
  }

  @Test func moduleThatReadsFromAStreamHasFailedFromTheStart() throws {
    #expect(try PacketBench(Misplaced.self).failure == "it reads from a stream, and gets packets")
  }

  @Test func damageOfOthersIsNoFault() throws {
    let bench = try PacketBench(Porter.self, match: "udp")
    var damaged = Self.question("Change.")
    damaged.octets[27] ^= 1
    let outcome = bench.receive(damaged)
    #expect(outcome.fate == .changed && outcome.fault == nil && outcome.packet?.fault != nil)
  }

  @Test(arguments: [false, true]) func whoAsksForATimerHasFailed(runsAsThread: Bool) throws {
    let reason = "it asks to be called again (wake); at the layers ip and tcp a module is called for packets alone"
    let packets = try PacketBench(Waking.self, runsAsThread: runsAsThread)
    #expect(packets.receive(Self.question("?")).fate == .passed)
    #expect(packets.failure == reason)
    let segments = try PacketBench(WakingSegments.self, match: "tcp", runsAsThread: runsAsThread)
    #expect(segments.receive(.tcp("10.0.0.5", 40_000, to: "192.0.2.1", 80, flags: .syn)).fate == .passed)
    #expect(segments.failure == reason)
  }
}

struct PacketCheckTests {
  private func porter(_ packet: Packet) -> [Packet] {
    guard packet.protocolNumber == 17, let first = packet.payload.first else { return [packet] }
    var packet = packet
    switch first {
    case UInt8(ascii: "D"): return []
    case UInt8(ascii: "C"):
      packet.octets[packet.octets.count - 1] = 33
      packet.setChecksums()
      return [packet]
    default: return [packet]
    }
  }

  private func datagrams(_ random: inout SplitMix) -> [Packet] {
    (0..<20).map { _ in
      PacketBenchTests.question(["Drop", "Change", "hello", "C", ""].randomElement(using: &random) ?? "")
    }
  }

  private func two(_ random: inout SplitMix) -> [Packet] { ["hi", "C"].map { PacketBenchTests.question($0) } }
  private func failing(_ random: inout SplitMix) -> [Packet] { [PacketBenchTests.question("F")] }

  @Test func agreesWithAPureFunction() throws {
    try check(Porter.self, match: "udp", onPackets: datagrams, seeds: 0..<20, each: porter)
  }

  @Test func agreesAtTheLayerTCP() throws {
    try check(Clamp.self, seeds: 0..<20) { packet in
      var packet = packet
      let at = packet.isIPv6 ? 54 : 34
      packet.octets.replaceSubrange(at..<at + 2, with: [0, 9])
      packet.setChecksums()
      return [packet]
    }
  }

  @Test func remembersWhereTheReferenceDoes() throws {
    try checkSequence(Quota.self, match: "udp", onPackets: datagrams, seeds: 0..<5) { packets in
      packets.enumerated().map { $0.offset < 3 ? [$0.element] : [] }
    }
  }

  @Test func namesSeedAndPacketWhereTheyDiffer() throws {
    let difference = try #require(throws: PacketDifference.self) {
      try check(
        Porter.self, match: "udp",
        onPackets: two, seeds: 7..<9
      ) { [$0] }
    }
    #expect(
      difference.description == "seed 7, inline, packet 1: 10.0.0.5:40000 > 192.0.2.1:53 udp is changed: "
        + "10.0.0.5:40000 > 192.0.2.1:53 udp instead of 10.0.0.5:40000 > 192.0.2.1:53 udp, which differ at octet 26; "
        + "seeds: 7..<8")
  }

  @Test func failureIsADifference() throws {
    let difference = try #require(throws: PacketDifference.self) {
      try check(Porter.self, match: "udp", onPackets: failing, seeds: 0..<1) { [$0] }
    }
    #expect(difference.failure == "it threw: Trouble()")
  }
}
