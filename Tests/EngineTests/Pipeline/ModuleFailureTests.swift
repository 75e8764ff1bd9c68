import ModuleTesting
import Testing

@testable import Engine

/// Does what a module may not do as soon as an `f` comes; before that it removes each `x`.
struct Faulty: ProcessingModule {
  static let description = ModuleDescription(
    kind: "faulty", access: .edit, holdTime: .milliseconds(50), holdLimit: 2_000, help: "-")

  struct Trouble: Error {}

  enum Fault: CaseIterable {
    case throwing, releasingTooMuch, editingTheReleased, holdingForLong, holdingMuch
  }

  let fault: Fault
  private var isHolding = false

  init(_ arguments: Arguments) { self.init(.throwing) }
  init(_ fault: Fault) { self.fault = fault }

  mutating func process(_ window: inout Window) throws {
    guard window.find("f") != nil || isHolding else {
      while let found = window.find("x") { window.remove(found..<found + 1) }
      window.releaseAll()
      return
    }
    switch fault {
    case .throwing: throw Trouble()
    case .releasingTooMuch: window.release(upTo: window.count + 1)
    case .editingTheReleased:
      window.release(upTo: 2)
      window.remove(0..<1)
    case .holdingForLong, .holdingMuch: isHolding = true
    }
  }
}

/// Modules that do what they may not: they are taken out of the connection, and `--on-fail` says what becomes of that one.
@Suite struct ModuleFailureTests {
  /// Is declared to read, and edits.
  private struct Liar: ProcessingModule {
    static let description = ModuleDescription(kind: "liar", access: .read, help: "-")
    init(_ arguments: Arguments) {}
    init() {}
    mutating func process(_ window: inout Window) {
      window.remove(0..<1)
      window.releaseAll()
    }
  }

  private static func reason(_ fault: Faulty.Fault) -> String {
    switch fault {
    case .throwing: "it threw: Trouble()"
    case .releasingTooMuch: "it works at 0 to 4 of 3 octets"
    case .editingTheReleased: "it edits octets that it has released"
    case .holdingForLong: "it held 3 octets for longer than the 50 ms that it may"
    case .holdingMuch: "it held 2001 octets, and may hold 2000"
    }
  }

  @Test(arguments: Faulty.Fault.allCases, [AttachedModule.RunMode.inline, .thread])
  func theConnectionGoesOnUneditedAndStaysShifted(fault: Faulty.Fault, run: AttachedModule.RunMode) throws {
    let threads = ManualThreads()
    // On a thread a module may hold for as long as it likes.
    guard run == .inline || ![.holdingForLong, .holdingMuch].contains(fault) else { return }
    var talk = try Conversation.working([[AttachedModule(1, Faulty(fault), run: run)]], threads: threads)
    func settle(_ out: [String]) -> [String] {
      threads.stepAll()
      return out + talk.collect().map(\.summary)
    }
    let first = talk.fromServer(0, "axb").out
    #expect(settle(first).map { $0.replacing("P.", with: ".") } == ["server . 0 ack 0 'ab'"])
    let text = fault == .holdingMuch ? String(repeating: "f", count: 1_000) : "fxg"
    var out: [String] = settle(talk.fromServer(3, text).out)
    if fault == .holdingMuch {
      out += settle(talk.fromServer(1_003, text).out)
      #expect(out == [])
      out = settle(talk.fromServer(2_003, "f").out)
    }
    if fault == .holdingForLong {
      #expect(out == [])
      out += talk.pass(.milliseconds(50)).map(\.summary)
    }
    // All that it had goes on as it came.
    let behind = fault == .holdingMuch ? 2_004 : 6
    #expect(out.joined().filter { $0 == "f" }.count == (fault == .holdingMuch ? 2_001 : 1))
    if fault != .holdingMuch { #expect(out.joined().contains("fxg'")) }
    // The shift stays, and with it the mapping of both directions.
    #expect(talk.fromServer(behind, "xh").out == ["server . \(behind - 1) ack 0 'xh'"])
    #expect(talk.fromClient(0, "c", acknowledging: behind + 1).out.last == "client . 0 ack \(behind + 2) 'c'")
    #expect(talk.states == ["failed: \(Self.reason(fault))"])
    let counters = talk.box.engine.statistics.engine
    #expect(counters.moduleFailures == 1 && counters.cut == 0)
    #expect(
      talk.box.events.map(\.content) == [.init("failed", ["reason": Self.reason(fault), "policy": "pass"])])
    // It stays out, until another one is attached.
    try talk.configure([[AttachedModule(2, ByteEditor(rule: [UInt8(ascii: "x"): []]))]])
    #expect(talk.fromServer(behind + 2, "xi").out == ["server . \(behind + 1) ack 0 'i'"])
    #expect(talk.states == ["working"])
  }

  @Test func aReaderThatEditsHasFailed() throws {
    var talk = try Conversation.working([[AttachedModule(1, Liar())]])
    #expect(talk.fromServer(0, "abc").kind == .accepted)
    #expect(talk.states == ["failed: it is declared to read, and edits"])
    #expect(talk.fromServer(3, "def").kind == .accepted)
    #expect(talk.box.engine.statistics.engine.moduleFailures == 1)
  }

  @Test(arguments: [Flow.FailurePolicy.drop, .reset])
  func theFlowSaysWhatBecomesOfTheConnection(policy: Flow.FailurePolicy) throws {
    var talk = try Conversation.working([[AttachedModule(1, Faulty(.throwing))]], onFail: policy)
    #expect(talk.fromServer(0, "axb").out == ["server . 0 ack 0 'ab'"])
    _ = talk.fromClient(0, acknowledging: 2)
    // Each end gets the number that it expects.
    #expect(
      talk.fromServer(3, "f").out == (policy == .drop ? [] : ["client R. 0 ack 3", "server R. 2 ack 0"]))
    // Nothing of it passes any more, in neither direction.
    #expect(talk.fromServer(3, "g").out == [] && talk.fromClient(0, "h", acknowledging: 2).out == [])
    #expect(talk.pass(.seconds(5)).isEmpty)
    let counters = talk.box.engine.statistics.engine
    #expect(counters.moduleFailures == 1 && counters.cut == 1)
    #expect(talk.box.engine.connections(limit: 1).first?.state == "cut")
    #expect(talk.box.events.map(\.content.fields["policy"]) == [policy.rawValue])
    _ = talk.pass(.seconds(60))
    #expect(talk.box.engine.statistics.connections == 0)
  }

  @Test func afterAResetForAFailureTheSamePortsMayBeUsedAgain() throws {
    var talk = try Conversation.working([[AttachedModule(1, Faulty(.throwing))]], onFail: .reset)
    _ = talk.fromServer(0, "f")
    let syn = TCPPacket(
      from: talk.client, to: talk.server, sequence: 99_000, acknowledgement: 0, flags: .syn)
    #expect(talk.box.receive(syn, at: talk.now).packet != nil)
    let answer = TCPPacket(
      from: talk.server, to: talk.client, sequence: 88_000, acknowledgement: 99_001, flags: [.syn, .ack])
    #expect(talk.box.receive(answer, at: talk.now).packet != nil)
    #expect(talk.states == ["working"])
  }
}
