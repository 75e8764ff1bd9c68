import ModuleTesting
import Testing

@testable import Engine

/// Row 24: early acknowledgement, and the delivery that becomes ours by it.
@Suite struct OwnedDeliveryRows {
  /// Holds everything until `size` octets have come.
  struct Gatherer: ProcessingModule {
    static let description = ModuleDescription(
      kind: "gatherer", access: .edit, holdTime: .seconds(600), holdLimit: 8 << 20, help: "Holds.")
    var size = 0
    init(size: Int) { self.size = size }
    init(_ arguments: Arguments) {}
    mutating func process(_ window: inout Window) {
      if window.count >= size || window.mustRelease { window.releaseAll() }
    }
  }

  static func text(_ count: Int) -> String { String(repeating: "a", count: count) }

  @Test("24. where the window is shut, what is held is acknowledged at once, and opens it again")
  func row24_heldOctetsOpenTheWindow() throws {
    var talk = try Conversation([Gatherer(size: 10_000)])
    try talk.shakeHands(window: 2_000)
    #expect(talk.fromServer(0, Self.text(1_000), window: 2_000).out == [])
    let outcome = talk.fromServer(1_000, Self.text(1_000), window: 2_000)
    #expect(outcome.out == ["client . 0 ack 2000"])
    #expect(outcome.injected.first?.tcp.window == 2_000)
  }

  @Test("24. what is released leaves by the congestion window") func row24_congestionWindow() throws {
    var talk = try Conversation.established([Gatherer(size: 40_000)])
    for index in 0..<39 { _ = talk.fromServer(index * 1_000, Self.text(1_000)) }
    _ = talk.pass(.milliseconds(100))
    #expect(talk.fromServer(39_000, Self.text(1_000)).payload == 10_000)
    #expect(talk.fromClient(0, acknowledging: 2_000).payload == 4_000)
    #expect(talk.fromClient(0, acknowledging: 4_000).payload == 4_000)
  }

  @Test("24. a loss is noticed by duplicates, and halves the congestion window") func row24_fastRetransmit() throws {
    var talk = try Conversation.established([Gatherer(size: 40_000)])
    for index in 0..<39 { _ = talk.fromServer(index * 1_000, Self.text(1_000)) }
    _ = talk.pass(.milliseconds(100))
    _ = talk.fromServer(39_000, Self.text(1_000))
    func sack(_ blocks: [(Int, Int)]) -> [UInt8] { Conversation.sack(blocks, from: Conversation.serverStart) }
    #expect(talk.fromClient(0, acknowledging: 0, options: sack([(1_000, 2_000)])).payload == 0)
    #expect(talk.fromClient(0, acknowledging: 0, options: sack([(1_000, 3_000)])).payload == 0)
    // The first three and the fifth are missing.
    let third = talk.fromClient(0, acknowledging: 0, options: sack([(5_000, 6_000), (1_000, 4_000)]))
    #expect(third.injected.map(\.tcp.sequence) == [Conversation.serverStart] && third.payload == 1_000)
    let fourth = talk.fromClient(0, acknowledging: 0, options: sack([(5_000, 7_000), (1_000, 4_000)]))
    #expect(fourth.injected.map(\.tcp.sequence) == [Conversation.serverStart + 4_000] && fourth.payload == 1_000)
    #expect(talk.fromClient(0, acknowledging: 0, options: sack([(5_000, 8_000), (1_000, 4_000)])).payload == 0)
    // All is there; five segments may be under way now.
    #expect(talk.fromClient(0, acknowledging: 10_000).payload == 5_000)
  }

  @Test("22. without SACK, what waited is acknowledged together with what it waited for")
  func row22_jointAcknowledgement() throws {
    var talk = try Conversation([ByteEditor(rule: [:])])
    try talk.shakeHands(permitsSACK: false)
    #expect(talk.fromServer(4, "ef").out == ["client . 0 ack 0"])
    #expect(talk.fromServer(6, "gh").out == ["client . 0 ack 0"])
    #expect(talk.fromServer(0, "abcd").out == ["server . 0 ack 0 'abcd'", "server P. 4 ack 0 'efgh'"])
    #expect(talk.fromClient(0, acknowledging: 4).out == [])
    #expect(talk.fromClient(0, acknowledging: 8).out == ["client . 0 ack 8"])
    // Where part of it is lost, the destination says so, and the source is told how far it got.
    _ = talk.fromServer(12, "mn")
    #expect(talk.fromServer(8, "ijkl").out == ["server . 8 ack 0 'ijkl'", "server P. 12 ack 0 'mn'"])
    #expect(talk.fromClient(0, acknowledging: 12).out == [])
    #expect(talk.fromClient(0, acknowledging: 12).out == ["client . 0 ack 12"])
    // Or the source asks.
    _ = talk.fromClient(0, acknowledging: 14)
    _ = talk.fromServer(18, "st")
    _ = talk.fromServer(14, "opqr")
    #expect(talk.fromClient(0, acknowledging: 18).out == [])
    #expect(talk.fromServer(14, "opqr").out == ["client . 0 ack 18"])
  }

  @Test("22. a partial acknowledgement sends what is missing behind it") func row22_partialAcknowledgement() throws {
    var talk = try Conversation.established([Gatherer(size: 40_000)])
    for index in 0..<39 { _ = talk.fromServer(index * 1_000, Self.text(1_000)) }
    _ = talk.pass(.milliseconds(100))
    _ = talk.fromServer(39_000, Self.text(1_000))
    for _ in 0..<3 { _ = talk.fromClient(0, acknowledging: 0) }
    let partial = talk.fromClient(0, acknowledging: 2_500)
    #expect(partial.injected.map(\.tcp.sequence).first == Conversation.serverStart + 2_500)
  }

  @Test("24. nothing heard: once more after the timeout, then by its answers") func row24_timeout() throws {
    var talk = try Conversation([Gatherer(size: 40_000)])
    try talk.shakeHands(toServer: .seconds(2), toClient: .milliseconds(100))
    try talk.gather(40_000)
    // A first sample counts thrice (RFC 6298 section 2.2), and that is the handshake with this end.
    #expect(talk.pass(.milliseconds(299)).isEmpty)
    #expect(talk.pass(.milliseconds(1)).map(\.tcp.sequence) == [Conversation.serverStart])
    let answer = talk.fromClient(0, acknowledging: 1_000)
    #expect(answer.injected.map(\.tcp.sequence) == [Conversation.serverStart + 1_000])
  }

  @Test("24. a handshake that was repeated tells of no round trip") func row24_repeatedHandshake() throws {
    var talk = try Conversation([Gatherer(size: 40_000)])
    try talk.shakeHands(toClient: .milliseconds(100), repeating: true)
    try talk.gather(40_000)
    // As long as is waited where nothing is known (RFC 6298 section 2.1).
    #expect(talk.pass(.milliseconds(999)).isEmpty)
    #expect(talk.pass(.milliseconds(1)).map(\.tcp.sequence) == [Conversation.serverStart])
  }

  @Test("24. a mebibyte is gathered through small windows and loss", arguments: [1, 2, 3] as [UInt64])
  func row24_mebibyteIsGathered(seed: UInt64) throws {
    var random = SplitMix(seed: seed)
    let upload = SimulationTests.bytes(2_500_000, &random)
    var box = Middlebox()
    try box.configure([Gatherer(size: 1 << 20)])
    let one = Endpoint(address: try #require(IPAddress("10.0.0.1")), port: 40_000)
    let two = Endpoint(address: try #require(IPAddress("10.0.1.2")), port: 80)
    var options = Host.Options()
    options.sendWindow = 14_600
    options.receiveWindow = 16_384
    options.windowScale = 0
    var link = Simulation.Link.clean
    link.loss = 50
    var simulation = Simulation(
      seed: seed, client: Host(one, two, isClient: true, sending: upload, options: options),
      server: Host(two, one, isClient: false, sending: [], options: options), box: box, clientLink: link,
      serverLink: link)
    simulation.run()
    #expect(simulation.server.received == upload, "seed \(seed): \(simulation.server.received.count)")
    #expect(simulation.client.isDone && simulation.server.isDone && simulation.client.complaints == [])
  }
}

extension Conversation {
  /// The server sends `count` octets, acknowledged early, which leave together.
  fileprivate mutating func gather(_ count: Int) throws {
    let segments = count / 1_000
    for index in 0..<segments - 1 { _ = fromServer(index * 1_000, OwnedDeliveryRows.text(1_000)) }
    _ = pass(.milliseconds(100))
    #expect(fromServer(count - 1_000, OwnedDeliveryRows.text(1_000)).out.count > 1)
  }
}

extension Middlebox.Outcome {
  /// Octets of payload in all that left.
  var payload: Int { packets.reduce(0) { $0 + $1.payload.count } }
}
