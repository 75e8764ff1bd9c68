import ModuleTesting
import Testing

@testable import Engine

/// What shows only after a long time, or many octets.
@Suite struct LongLivedTests {
  private static let scaled: [UInt8] = [2, 4, 5, 0xb4, 4, 2, 3, 3, 14, 1]

  /// Might edit, and never does.
  struct Idle: ProcessingModule {
    static let description = ModuleDescription(kind: "idle", access: .edit, help: "Does nothing.")
    init(_ arguments: Arguments) {}
    init() {}
    mutating func process(_ window: inout Window) { window.releaseAll() }
  }

  /// Numbers are compared modulo 2^32: a mark that stays behind would seem to lie ahead after half of that.
  @Test func recoversFromAGapBehindTwoGibibytes() throws {
    var talk = try Exchange([Idle()], synOptions: Self.scaled)
    _ = talk.fromServer(0)
    let offset = talk.upload(superPackets: 37_000)
    #expect(try talk.info().toServer.octetsOut > 1 << 31)
    let segment = [UInt8](repeating: 7, count: 1_000)
    for number in 1...3 { _ = talk.fromClient(offset + number * 1_000, payload: segment) }
    let filled = talk.fromClient(offset, payload: segment)
    let start = Exchange.clientStart &+ UInt32(truncatingIfNeeded: offset)
    let left = filled.octets(to: Exchange.server, from: start)
    #expect(left.count == 4_000 && left.values.allSatisfy { $0 == 7 })
    // A new configuration is taken at once.
    _ = talk.fromServer(0, acknowledging: offset + 4_000)
    try talk.box.configure([LivenessTests.grow])
    let grown = talk.fromClient(offset + 4_000, payload: [2]).packet
    #expect(grown.map { Array($0.payload) } == [2, 2, 2, 2])
  }

  /// More than 254 probes.
  @Test func aWindowThatStaysShutForADayIsProbedOnceAMinute() throws {
    var talk = try Exchange([LivenessTests.grow, LivenessTests.Patient()], window: 4)
    _ = talk.fromClient(0, payload: [2, 8, 9])
    _ = talk.wait(.milliseconds(1_001))
    _ = talk.fromServer(0, acknowledging: 4, window: 0)
    var probes = 0
    for _ in 0..<(24 * 60) {
      let sent = talk.wait(.seconds(60)).filter { !$0.payload.isEmpty }
      probes += sent.count
      guard sent.count <= 12 else { break }
      _ = talk.fromServer(0, acknowledging: 4, window: 0)
    }
    #expect((1_400...1_500).contains(probes))
    #expect(talk.fromServer(0, acknowledging: 4, window: 100).packets.contains { Array($0.payload) == [8, 9] })
  }

  /// Both ends offer what no packet could carry.
  @Test(arguments: [false, true]) func segmentsOfAnyOfferedSizeLeaveInPackets(cutByTheKernel: Bool) throws {
    var settings = Settings()
    settings.superPackets = (cutByTheKernel, cutByTheKernel)
    var talk = try Exchange(
      [LivenessTests.grow], settings: settings, synOptions: [2, 4, 0xff, 0xff, 4, 2, 3, 3, 14, 1])
    _ = talk.fromServer(0)
    let segment = [UInt8](repeating: 9, count: 1_400)
    for number in 1...60 { _ = talk.fromClient(number * 1_400, payload: segment) }
    let left = talk.fromClient(0, payload: segment).octets(to: Exchange.server, from: Exchange.clientStart)
    #expect(left.count == 61 * 1_400)
    // A packet that has grown beyond all others.
    let growing = [UInt8](repeating: 2, count: 30_000)
    let grown = talk.fromClient(61 * 1_400, payload: growing).octets(to: Exchange.server, from: Exchange.clientStart)
    #expect(grown.count == 120_000)
  }

  /// Lets go of nothing, and may hold for no time at all.
  struct Hasty: ProcessingModule {
    static let description = ModuleDescription(kind: "hasty", access: .edit, holdTime: 0, help: "Holds.")
    init(_ arguments: Arguments) {}
    init() {}
    mutating func process(_ window: inout Window) { window.release(upTo: window.mustRelease ? window.count : 0) }
  }

  @Test func aModuleOnAThreadThatMayHoldForNoTimeDoesNotStandStill() throws {
    let threads = ManualThreads()
    var talk = try Conversation.working([[AttachedModule(1, Hasty(), run: .thread)]], threads: threads)
    _ = talk.fromServer(0, "abc")
    for _ in 0..<3 {
      _ = talk.pass(.milliseconds(1))
      threads.stepAll()
    }
    #expect(talk.collect().text == "abc")
  }

  /// The table forgets an old connection at the moment at which a new one opens between the same ends.
  @Test func aConnectionThatOpensAsAnOldOneIsForgottenIsEdited() throws {
    var talk = try Exchange([LivenessTests.grow])
    _ = talk.fromClient(0, flags: [.rst, .ack])
    _ = talk.wait(Settings().closeTimeout - .milliseconds(5))
    _ = talk.fromClient(99_999, flags: .syn, options: [2, 4, 5, 0xb4])
    _ = talk.wait(.milliseconds(50))
    _ = talk.fromServer(49_999, acknowledging: 100_000, flags: [.syn, .ack], options: [2, 4, 5, 0xb4])
    _ = talk.fromClient(100_000, acknowledging: 50_000)
    let sent = talk.fromClient(100_000, acknowledging: 50_000, payload: [1, 2, 3])
    #expect(sent.packet.map { Array($0.payload) } == [1, 2, 2, 2, 2, 3])
  }

  /// Edits, lets go and resets, all at once; at once, or when it has to let go.
  struct Furious: ProcessingModule {
    static let description = ModuleDescription(kind: "furious", access: .edit, help: "Resets.")
    var isPatient = false
    init(_ arguments: Arguments) {}
    init(isPatient: Bool) { self.isPatient = isPatient }
    mutating func process(_ window: inout Window) {
      guard window.mustRelease || !isPatient else { return }
      window.insert([1, 2, 3], at: 0)
      window.releaseAll()
      window.reset()
    }
  }

  @Test(arguments: [false, true]) func nothingLeavesBehindTheResetOfAModule(isPatient: Bool) throws {
    var talk = try Exchange([Furious(isPatient: isPatient)])
    let left = talk.fromClient(0, payload: [7, 8, 9]).packets + talk.wait(.seconds(1))
    let reset = try #require(left.firstIndex { $0.tcp.flags.contains(.rst) })
    #expect(left[reset...].filter { $0.tcp.flags.contains(.rst) }.count == 2)
    #expect(left[reset...].count == 2)
  }
}

extension Exchange {
  /// Has the client send super-packets of 60,000 octets and the server acknowledge them, with no look at what becomes of each.
  ///
  /// - Returns: octets sent.
  fileprivate mutating func upload(superPackets count: Int) -> Int {
    var metadata = PacketMetadata()
    metadata.isGSO = true
    metadata.isChecksumTrusted = true
    metadata.isSummedLater = true
    var data = TCPPacket(
      from: Self.client, to: Self.server, sequence: 0, acknowledgement: Self.serverStart, flags: .ack,
      payload: [UInt8](repeating: 9, count: 60_000)
    ).bytes
    for index in 0..<count {
      let sequence = Self.clientStart &+ UInt32(truncatingIfNeeded: index * 60_000)
      for place in 0..<4 { data[24 + place] = UInt8(truncatingIfNeeded: sequence >> (24 - 8 * UInt32(place))) }
      let buffer = unsafe box.engine.receiveBuffers(1)[0]
      unsafe buffer.copyBytes(from: data)
      _ = box.engine.receive(0, packet: 0..<data.count, metadata: metadata, at: now)
      box.engine.recycle()
      if index % 16 == 15 || index == count - 1 { _ = fromServer(0, acknowledging: (index + 1) * 60_000) }
    }
    return count * 60_000
  }
}
