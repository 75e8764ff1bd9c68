import ModuleTesting
import Testing

@testable import Engine

/// Client - FlowOS - server over the whole matrix, with an oracle: either end gets the edit of what the other has sent, and
/// nothing on the way that a real end would find wrong.
///
/// `FLOWOS_SEEDS=100 swift test --filter Matrix` gives each cell a hundred seeds; `FLOWOS_CELL` and `FLOWOS_SEED` run one again.
@Suite struct MatrixTests {
  /// A transfer as a cell and a seed make it.
  private struct Transfer {
    let cell: Matrix.Cell
    let editor: ByteEditor
    let upload: [UInt8]
    let download: [UInt8]
    let isReadOnly: Bool
    var client = Host.Options()
    var server = Host.Options()
    var clientLink: Simulation.Link
    var serverLink: Simulation.Link
    let seed: UInt64

    /// Each seed is another in each cell.
    init(_ cell: Matrix.Cell, seed: UInt64) throws {
      var mixed: UInt64 = 0xcbf2_9ce4_8422_2325
      for octet in cell.name.utf8 { mixed = (mixed ^ UInt64(octet)) &* 0x100_0000_01b3 }
      var random = SplitMix(seed: mixed &+ seed)
      self.cell = cell
      self.seed = random.next()
      let rule = try #require(Matrix.edits.first { $0.name == cell.edit }).rule
      let link = try #require(Matrix.links.first { $0.name == cell.link }).link
      editor = ByteEditor(rule: rule, hold: [0, 0, 7, 100].randomElement(using: &random)!)
      isReadOnly = cell.edit == "none" && random.once(in: 2)
      // The first seeds are small, so that all cells take little time.
      let limit = seed <= 2 ? 6_000 : 60_000
      let count = Int.random(in: limit / 4...limit, using: &random) / (cell.way == "both" ? 2 : 1)
      upload = cell.way == "download" ? [] : SimulationTests.bytes(count, &random)
      download = cell.way == "upload" ? [] : SimulationTests.bytes(count, &random)
      clientLink = link
      serverLink = link
      if random.once(in: 4) { clientLink.rate = 250_000 }
      if random.once(in: 4) { serverLink.rate = 250_000 }
      if random.once(in: 4) { serverLink.delay = .milliseconds(40) }
      client = Self.options(cell, isSuper: seed % 2 == 0, link, &random)
      server = Self.options(cell, isSuper: seed % 2 == 0, link, &random)
      switch Int.random(in: 0..<3, using: &random) {
      case 0: client.endsLast = true
      case 1: server.endsLast = true
      default: break
      }
    }

    private static func options(
      _ cell: Matrix.Cell, isSuper: Bool, _ link: Simulation.Link, _ random: inout SplitMix
    ) -> Host.Options {
      var options = Host.Options()
      options.usesTimestamps = cell.usesTimestamps
      options.usesSACK = cell.usesSACK
      options.segmentsAtOnce = isSuper ? 12 : 1
      options.expectsDamage = link.corruption > 0
      options.maximumSegment = [536, 1_220, 1_400, 1_460, 1_460, 8_960].randomElement(using: &random)!
      options.receiveWindow = [600, 4_000, 16_384, 65_535, 200_000, 200_000].randomElement(using: &random)!
      options.windowScale = options.receiveWindow > 65_535 ? 7 : [nil, 0, 2].randomElement(using: &random)!
      options.sendWindow = [3_000, 60_000].randomElement(using: &random)!
      options.isDelayingAcknowledgements = random.once(in: 2)
      options.probesWithData = random.once(in: 2)
      if random.once(in: 3) {
        options.pause = (
          octets: Int.random(in: 500...5_000, using: &random),
          time: .milliseconds(Int64.random(in: 20...900, using: &random))
        )
      }
      // Anywhere, or so that the numbers go beyond 2^32 on the way.
      options.initialSequence =
        random.once(in: 2)
        ? 0 &- UInt32.random(in: 0...3_000, using: &random) : UInt32(truncatingIfNeeded: random.next())
      return options
    }

    func simulation() throws -> Simulation {
      var box = Middlebox()
      try box.configure([isReadOnly ? Reader() : editor])
      let addresses = cell.isIPv6 ? ("fd00::1", "fd00::2") : ("10.0.0.1", "10.0.1.2")
      let one = Endpoint(address: try #require(IPAddress(addresses.0)), port: 40_000)
      let two = Endpoint(address: try #require(IPAddress(addresses.1)), port: 80)
      return Simulation(
        seed: seed, client: Host(one, two, isClient: true, sending: upload, options: client),
        server: Host(two, one, isClient: false, sending: download, options: server), box: box,
        clientLink: clientLink, serverLink: serverLink)
    }
  }

  @discardableResult
  private static func run(_ cell: Matrix.Cell, seed: UInt64) throws -> UInt64 {
    let transfer = try Transfer(cell, seed: seed)
    let replay = cell.replay(seed)
    var simulation = try transfer.simulation()
    simulation.run()
    let expectedUp = transfer.editor.edit(transfer.upload)
    let expectedDown = transfer.editor.edit(transfer.download)
    let (up, down) = (simulation.server.received, simulation.client.received)
    let (upDiffers, downDiffers) = (difference(up, expectedUp), difference(down, expectedDown))
    #expect(upDiffers == nil, "upload; \(replay)")
    #expect(downDiffers == nil, "download; \(replay)")
    #expect(simulation.client.isDone && simulation.server.isDone, replay)
    let complaints = Set(simulation.client.complaints).union(simulation.server.complaints)
    #expect(complaints == [], replay)
    let counters = simulation.box.engine.statistics.engine
    #expect(counters.accepted + counters.mangled + counters.dropped == UInt64(simulation.box.arrived), replay)
    // Everything that was held is given back when the connection is forgotten.
    _ = simulation.box.advance(to: simulation.now + .seconds(100))
    _ = simulation.box.advance(to: simulation.now + .seconds(200_000))
    let statistics = simulation.box.engine.statistics
    #expect(statistics.connections == 0, replay)
    #expect(statistics.memoryInUse <= 2_048 + 73_728, replay)
    return simulation.trace
  }

  /// Where `got` is not what was expected; nil where it is.
  private static func difference(_ got: [UInt8], _ expected: [UInt8]) -> String? {
    guard got != expected else { return nil }
    let at = zip(got, expected).enumerated().first { $0.element.0 != $0.element.1 }?.offset
    return "\(got.count) of \(expected.count) octets, " + (at.map { "other ones from \($0) on" } ?? "the same so far")
  }

  @Test(arguments: Matrix.chosen) func cell(_ cell: Matrix.Cell) throws {
    for seed in Matrix.seeds(cell) { try Self.run(cell, seed: seed) }
  }

  @Test func aSeedMakesTheSamePackets() throws {
    for index in stride(from: 5, to: Matrix.cells.count, by: 97) {
      let cell = Matrix.cells[index]
      let first = try Self.run(cell, seed: 2)
      let second = try Self.run(cell, seed: 2)
      #expect(first == second, cell.replay(2))
      let other = try Self.run(cell, seed: 1)
      #expect(first != other, cell.replay(2))
    }
  }
}
