import ModuleTesting
import Testing

@testable import Engine

/// Client - FlowOS - server with an oracle: what either end receives is the edit of what the other sent, whatever the
/// links do on the way. The matrix of what may happen is in `MatrixTests`.
@Suite struct SimulationTests {
  struct Case: CustomTestStringConvertible, Sendable {
    var name: String
    var rule: [UInt8: [UInt8]]
    var hold = 0
    var link = Simulation.Link.clean
    var isGSO = false
    var isIPv6 = false
    var usesTimestamps = true
    var usesSACK = true
    var initialSequence: UInt32 = 1_000
    var count = 60_000
    var delays = false
    var receiveWindow = 200_000
    var testDescription: String { name }
  }

  static let shrink: [UInt8: [UInt8]] = [1: [], 2: [], 3: []]
  static let grow: [UInt8: [UInt8]] = [1: Array("caterpillar".utf8), 2: [2, 2]]
  static let mixed: [UInt8: [UInt8]] = [1: [], 2: Array("inserted".utf8) + [2], 3: [9], 4: [4, 7, 7]]
  static let everything: [UInt8: [UInt8]] = Dictionary(uniqueKeysWithValues: (0...255).map { (UInt8($0), []) })

  static func bytes(_ count: Int, _ random: inout SplitMix) -> [UInt8] {
    // Rich in what the rules edit, in single octets and in runs.
    var bytes: [UInt8] = []
    while bytes.count < count {
      switch Int.random(in: 0..<4, using: &random) {
      case 0:
        bytes += [UInt8](
          repeating: UInt8.random(in: 0...5, using: &random), count: Int.random(in: 1...60, using: &random))
      case 1: bytes.append(UInt8.random(in: 0...5, using: &random))
      default:
        for _ in 0..<Int.random(in: 1...400, using: &random) { bytes.append(UInt8.random(in: 5...255, using: &random)) }
      }
    }
    return Array(bytes.prefix(count))
  }

  static func run(
    _ test: Case, seed: UInt64, modules: [any ProcessingModule]? = nil, edit: (([UInt8]) -> [UInt8])? = nil
  ) throws {
    var random = SplitMix(seed: seed)
    let upload = bytes(test.count, &random)
    let download = bytes(test.count, &random)
    let editor = ByteEditor(rule: test.rule, hold: test.hold)
    // Where packets come that the kernel still has to cut, it takes such packets too.
    var settings = Settings()
    settings.superPackets = (test.isGSO, test.isGSO)
    var box = Middlebox(settings)
    box.interface = 1
    try box.configure(modules ?? [editor])
    let addresses = test.isIPv6 ? ("fd00::1", "fd00::2") : ("10.0.0.1", "10.0.1.2")
    let one = Endpoint(address: try #require(IPAddress(addresses.0)), port: 40_000)
    let two = Endpoint(address: try #require(IPAddress(addresses.1)), port: 80)
    var options = Host.Options()
    options.usesTimestamps = test.usesTimestamps
    options.usesSACK = test.usesSACK
    options.segmentsAtOnce = test.isGSO ? 12 : 1
    options.initialSequence = test.initialSequence
    options.isDelayingAcknowledgements = test.delays
    options.receiveWindow = test.receiveWindow
    if options.windowScale != nil, test.receiveWindow < 65_536 { options.windowScale = 0 }
    var other = options
    other.initialSequence = test.initialSequence &+ 77_777
    var simulation = Simulation(
      seed: seed, client: Host(one, two, isClient: true, sending: upload, options: options),
      server: Host(two, one, isClient: false, sending: download, options: other), box: box,
      clientLink: test.link, serverLink: test.link)
    simulation.run()
    let expectUp = edit?(upload) ?? editor.edit(upload)
    let expectDown = edit?(download) ?? editor.edit(download)
    #expect(
      simulation.server.received == expectUp,
      "upload, \(test.name), seed \(seed): \(simulation.server.received.count) of \(expectUp.count)")
    #expect(
      simulation.client.received == expectDown,
      "download, \(test.name), seed \(seed): \(simulation.client.received.count) of \(expectDown.count)")
    #expect(simulation.client.isDone && simulation.server.isDone, "\(test.name), seed \(seed)")
    #expect(simulation.client.complaints == [] && simulation.server.complaints == [], "\(test.name), seed \(seed)")
    let statistics = simulation.box.engine.statistics
    #expect(
      statistics.engine.accepted + statistics.engine.mangled + statistics.engine.dropped
        == UInt64(simulation.box.arrived))
    // Everything that was held is given back when the connection is forgotten.
    _ = simulation.box.advance(to: simulation.now + .seconds(100))
    _ = simulation.box.advance(to: simulation.now + .seconds(200_000))
    #expect(simulation.box.engine.statistics.connections == 0)
    #expect(simulation.box.engine.statistics.memoryInUse <= 2_048 + 73_728)
  }

  @Test(arguments: [Simulation.Link.clean, .bad]) func chainedEditorsCompose(link: Simulation.Link) throws {
    // Dense enough that every packet becomes thousands of segments.
    let first = ByteEditor(
      rule: Dictionary(uniqueKeysWithValues: (0...127).map { (UInt8($0), [UInt8($0), 200, 201]) }))
    let second = ByteEditor(rule: [200: [], 201: [7, 7, 7]], hold: 3)
    var test = Case(name: "chained", rule: [:], link: link, isGSO: true)
    test.count = 30_000
    try Self.run(test, seed: 5, modules: [first, second]) { second.edit(first.edit($0)) }
  }
}
