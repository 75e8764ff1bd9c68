import Testing

@testable import Engine

/// What one connection, or all of them, may make grow.
@Suite struct BoundsTests {
  /// Two ends that work together: endless data in super-packets, and never an acknowledgement.
  @Test func sentDataThatIsNeverAcknowledgedIsBounded() throws {
    var conversation = try Exchange([Reader()], synOptions: [2, 4, 5, 0xb4, 3, 3, 14, 1])
    let payload = [UInt8](repeating: 9, count: 60_000)
    _ = conversation.fromServer(0, acknowledging: 0, window: 65_535)
    for index in 0..<4_000 { _ = conversation.fromClient(index * payload.count, payload: payload, isGSO: true) }
    let memory = conversation.statistics.memoryInUse
    #expect(memory < 128 << 20)
  }

  /// Octets that come one by one in front of a gap fill none of it. Nothing has waited for them, and nothing is kept for them.
  @Test func octetsInFrontOfAGapLeaveNothingBehind() throws {
    for permitsSACK in [true, false] {
      var talk = try Conversation([EarlyRows.editor])
      try talk.shakeHands(permitsSACK: permitsSACK)
      let told = talk.fromServer(50_000, "z").out
      #expect(told == ["client . 0 ack 0" + (permitsSACK ? " sack 50000-50001" : "")])
      for offset in 0..<1_000 { #expect(talk.fromServer(offset, "a").out == ["server . \(offset) ack 0 'a'"]) }
      let found = talk.box.engine.connections.find(ConnectionKey(talk.client, talk.server))
      let slot = try #require(found)
      let isJoining = talk.box.engine.connections[slot][.toClient].sender.isJoining
      #expect(!isJoining)
    }
  }

  /// Segments of which each fills a gap, and never an acknowledgement.
  @Test func whatWaitedForItsTurnIsBounded() {
    var sender = Sender(start: InSequence(0))
    var count = 0
    while !sender.isFull, count < 1 << 20 {
      let start = InSequence(UInt32(2 * count))
      sender.acknowledgesTogether(
        Sender.Joint(
          start: start, waited: (left: start + 1, right: start + 2), edge: OutSequence(0), arrivedEdge: start + 2,
          isReported: true, isTold: true))
      count += 1
    }
    #expect(count < 1 << 20)
  }

  @Test func memoryLimitHoldsForLargePackets() throws {
    var settings = Settings()
    settings.memoryLimit = 4 << 20
    var conversation = try Exchange([Reader()], settings: settings, synOptions: [2, 4, 5, 0xb4, 3, 3, 14, 1])
    let payload = [UInt8](repeating: 9, count: 60_000)
    _ = conversation.fromServer(0, acknowledging: 0, window: 65_535)
    for index in 0..<200 { _ = conversation.fromClient(index * payload.count, payload: payload, isGSO: true) }
    let memory = conversation.statistics.memoryInUse
    #expect(memory <= settings.memoryLimit + 2 * 73_728)
  }

  @Test func octetLeftOfASuperPacketDoesNotHoldAllOfIt() throws {
    var conversation = try Exchange([ByteEditor(rule: [1: []])], synOptions: [2, 4, 5, 0xb4, 3, 3, 14, 1])
    let payload = [UInt8](repeating: 1, count: 19_800) + [UInt8](repeating: 9, count: 200)
    _ = conversation.fromServer(0, acknowledging: 0, window: 65_535)
    for index in 0..<30 { _ = conversation.fromClient(index * payload.count, payload: payload, isGSO: true) }
    let memory = conversation.statistics.memoryInUse
    #expect(memory < 600_000)
  }

  /// A module that trusts that what it inserts is there, as all do.
  @Test func editsSucceedWhereMemoryIsExhausted() throws {
    var settings = Settings()
    settings.memoryLimit = 200_000
    var conversation = try Exchange(
      [ByteEditor(rule: [2: [UInt8](repeating: 2, count: 1_000)])], settings: settings)
    var offset = 0
    for _ in 0..<20 {
      let payload = [UInt8](repeating: 2, count: 20)
      _ = conversation.fromClient(offset, payload: payload)
      offset += payload.count
    }
    let info = try conversation.info()
    #expect(info.toServer.shift == Int(info.toServer.octetsIn) * 999)
  }

  /// What finds no room is not taken; what was taken leaves all the same, or no room would ever come.
  @Test func whatWasTakenLeavesWhereMemoryIsExhausted() throws {
    var settings = Settings()
    settings.memoryLimit = 200_000
    var conversation = try Exchange(
      [ByteEditor(rule: [2: [2, 2]])], settings: settings, synOptions: [2, 4, 5, 0xb4, 3, 3, 7, 1])
    _ = conversation.fromServer(0, acknowledging: 0)
    let payload = [2] + [UInt8](repeating: 9, count: 59_999)
    var taken = 0
    while conversation.fromClient(taken, payload: payload, isGSO: true).kind != .dropped { taken += payload.count }
    let refused = conversation.statistics.engine.overLimit
    #expect(refused == 1 && taken >= 120_000)
    for offset in stride(from: 0, to: taken, by: payload.count) {
      let again = conversation.fromClient(offset, payload: payload, isGSO: true).packets
      #expect(again.reduce(0) { $0 + $1.payload.count } > payload.count)
    }
    // The destination has it all, and there is room again.
    let edited = taken / payload.count * (payload.count + 1)
    let acknowledgement = conversation.fromServer(0, acknowledging: edited).packet?.tcp.acknowledgement
    #expect(acknowledgement == Exchange.clientStart + UInt32(taken))
    let next = conversation.fromClient(taken, payload: payload, isGSO: true)
    #expect(next.packet?.payload.count == payload.count + 1)
  }

  /// One that fills all the memory it can, and another.
  @Test func whatTakesMuchLeavesRoomForWhatTakesLittle() throws {
    var settings = Settings()
    settings.memoryLimit = 4 << 20
    var conversation = try Exchange(
      [ByteEditor(rule: [2: [2, 2]])], settings: settings, synOptions: [2, 4, 5, 0xb4, 3, 3, 14, 1])
    _ = conversation.fromServer(0, acknowledging: 0)
    let payload = [UInt8](repeating: 9, count: 60_000)
    for index in 0..<200 { _ = conversation.fromClient(index * payload.count, payload: payload, isGSO: true) }
    let refused = conversation.statistics.engine.overLimit
    #expect(refused > 0)

    let other = Endpoint(address: Exchange.client.address, port: 40_001)
    func packet(_ sequence: UInt32, _ flags: TCPFlags, _ payload: [UInt8] = []) -> TCPPacket {
      TCPPacket(
        from: other, to: Exchange.server, sequence: sequence, acknowledgement: 2, flags: flags, payload: payload)
    }
    let answer = TCPPacket(
      from: Exchange.server, to: other, sequence: 1, acknowledgement: 1_001, flags: [.syn, .ack])
    for opening in [packet(1_000, .syn), answer, packet(1_001, .ack)] {
      _ = conversation.box.receive(opening, at: conversation.now)
    }
    let edited = conversation.box.receive(packet(1_001, .ack, [1, 2, 3]), at: conversation.now)
    #expect(edited.packet.map { Array($0.payload) } == [1, 2, 2, 3])
  }

  @Test func timersOfAConnectionDoNotGatherOverTime() throws {
    var conversation = try Exchange([ByteEditor(rule: [:], hold: 5)])
    for index in 0..<300 {
      _ = conversation.fromClient(index, payload: [9])
      _ = conversation.wait(.seconds(1))
      _ = conversation.fromServer(0, acknowledging: index + 1)
    }
    let timers = conversation.box.engine.timerCount
    #expect(timers < 150)
    _ = conversation.wait(.seconds(200))
    let left = conversation.box.engine.timerCount
    #expect(left <= 2)
  }
}
