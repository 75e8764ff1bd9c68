import Testing

@testable import Engine

/// Modules of the layer `tcp`.
@Suite struct SegmentModuleTests {
  @Test func segmentsOfAConnectionAreChangedFromItsFirst() throws {
    var box = Middlebox()
    try box.configure(flows: [("tcp,tcp_dst=80", [WindowSetter()])])
    let client = Endpoint(address: IPAddress("10.0.0.1")!, port: 40_000)
    let server = Endpoint(address: IPAddress("10.0.1.2")!, port: 80)
    let syn = box.receive(TCPPacket(from: client, to: server, sequence: 1, flags: .syn), at: .zero)
    #expect(syn.packet?.tcp.window == 0x1234)
    let answer = TCPPacket(from: server, to: client, sequence: 9, acknowledgement: 2, flags: [.syn, .ack])
    #expect(box.receive(answer, at: .zero).kind == .accepted)
    let data = TCPPacket(
      from: client, to: server, sequence: 2, acknowledgement: 10, flags: .ack, payload: Array("hi".utf8))
    #expect(box.receive(data, at: .zero).packet?.tcp.window == 0x1234)
    #expect(box.engine.statistics.modules[1]?.own == [2, 1])
  }

  /// In front of an editor the stream is made of the changed segments, behind it they are changed as they leave.
  @Test func streamIsEditedBehindAndInFront() throws {
    let editor = ByteEditor(rule: [UInt8(ascii: "b"): Array("long".utf8)])
    var behind = try Conversation.established([SegmentModule(), editor])
    #expect(behind.fromClient(0, "ab", acknowledging: 0).out == ["client . 0 ack 0 'longlong'"])
    var inFront = try Conversation.established([editor, SegmentModule()])
    #expect(inFront.fromClient(0, "ab", acknowledging: 0).out == ["client . 0 ack 0 'blong'"])
  }

  @Test func droppedSegmentComesAgain() throws {
    var conversation = try Conversation.established([SegmentModule(), ByteEditor(rule: [:])])
    #expect(conversation.fromClient(0, "D", acknowledging: 0).out == [])
    #expect(conversation.fromClient(0, "x", acknowledging: 0).out == ["client . 0 ack 0 'x'"])
  }

  @Test func sourceOfARefusedSegmentIsReset() throws {
    var conversation = try Conversation.established([SegmentModule()])
    let outcome = conversation.fromClient(0, "R", acknowledging: 0)
    #expect(outcome.kind == .dropped)
    #expect(outcome.injected.map(\.summary) == ["server R 0"])
  }

  @Test func changingPortsIsAFailure() throws {
    var conversation = try Conversation.established([SegmentModule()])
    #expect(conversation.fromClient(0, "P", acknowledging: 0).out == [])
    #expect(conversation.box.engine.statistics.engine.moduleFailures == 1)
    #expect(conversation.fromClient(0, "P", acknowledging: 0).out == ["client . 0 ack 0 'P'"])
  }

  @Test func moduleComesAndGoesOnARunningConnection() throws {
    var conversation = try Conversation.established([])
    _ = conversation.fromClient(0, "x", acknowledging: 0)
    try conversation.box.configure([SegmentModule()])
    #expect(conversation.fromClient(1, "a", acknowledging: 0).out == ["client . 1 ack 0 'b'"])
    try conversation.box.configure([])
    #expect(conversation.fromClient(2, "a", acknowledging: 0).out == ["client . 2 ack 0 'a'"])
  }
}
