import ModuleTesting
import Testing

@testable import Engine

/// Modules that come and go while a connection lives.
@Suite struct ReconfigurationScripts {
  private static let remover = ByteEditor(rule: [UInt8(ascii: "x"): []])

  @Test("37. the shift stays when the editor goes") func row37_editingBeginsAndEndsAtAByteBoundary() throws {
    var talk = try Conversation.established([])
    #expect(talk.fromServer(0, "axb").kind == .accepted)
    try talk.box.configure([Self.remover], at: talk.now)
    #expect(talk.fromServer(3, "cxd").out == ["server . 3 ack 0 'cd'"])
    // What left before stays as it left.
    #expect(talk.fromServer(0, "axbcxd").out == ["server . 0 ack 0 'axbcd'"])
    try talk.box.configure([], at: talk.now)
    #expect(talk.fromServer(6, "exf").out == ["server . 5 ack 0 'exf'"])
    // The shift stays until the connection ends.
    #expect(talk.fromClient(0, acknowledging: 8).out == ["client . 0 ack 9"])
  }

  @Test func whatAModuleHeldGoesOnWhenItIsTakenOut() throws {
    var talk = try Conversation.established([ByteEditor(rule: [UInt8(ascii: "x"): []], hold: 5)])
    #expect(talk.fromServer(0, "abxd").out == [])
    try talk.box.configure([], at: talk.now)
    #expect(talk.box.takeInjections().map(\.summary) == ["server P. 0 ack 0 'abxd'"])
  }

  @Test func aModuleThatMovesPastAnotherLeavesThatOneAlone() throws {
    let threads = ManualThreads()
    let editor = AttachedModule(1, ByteEditor(rule: [UInt8(ascii: "x"): []], hold: 2), run: .thread)
    let readers = (2...3).map { AttachedModule(UInt32($0), Reader()) }
    var talk = try Conversation.working([[editor], readers], threads: threads)
    _ = talk.fromServer(0, "axx")
    threads.stepAll()
    #expect(talk.collect().text == "a")
    // One of the readers comes to stand in front of the editor, which goes on with its thread and with what it holds.
    try talk.configure([[readers[0]], [editor], [readers[1]]])
    #expect(talk.states == ["working", "working", "working"])
    #expect(threads.count == 1)
    _ = talk.fromServer(3, "bcd", acknowledging: 0)
    threads.stepAll()
    #expect(talk.collect().text == "b")
  }

  @Test func nothingIsDueForWhatWaitsOnceTheEditorIsGone() throws {
    var talk = try Conversation.established([Self.remover])
    #expect(talk.fromServer(0, "ab").kind == .accepted)
    // The source is to be told of it as soon as the destination has had the time for its own word.
    _ = talk.fromServer(4, "ef")
    try talk.box.configure([], at: talk.now)
    let deadline = talk.box.engine.nextDeadline
    let due = try #require(deadline)
    talk.now = due
    // An engine that finds the same thing due again and again never returns.
    _ = talk.box.advance(to: due)
    #expect(talk.fromServer(2, "cd").out == ["server . 2 ack 0 'cd'", "server P. 4 ack 0 'ef'"])
  }

  @Test func whatPassedUnreadIsNotEditedAfterwards() throws {
    var talk = try Conversation.established([Reader()])
    #expect(talk.fromServer(3, "xxx").kind == .accepted)
    // The editor has to wait: the destination has the octets that it would remove.
    try talk.box.configure([Self.remover], at: talk.now)
    #expect(talk.fromServer(6, "yx").kind == .dropped)
    #expect(talk.fromServer(0, "axb").out == ["server . 0 ack 0 'axb'", "server P. 6 ack 0 'yx'"])
    #expect(talk.fromServer(8, "zx").out == ["server . 8 ack 0 'z'"])
  }

  @Test func aModuleThatMustGoOnStaysUntilItMayGo() throws {
    var talk = try Conversation.established([Framer()])
    #expect(talk.fromServer(0, "a(b").out == ["server . 0 ack 0 'a(B'"])
    try talk.box.configure([], at: talk.now)
    #expect(talk.fromServer(3, "c)d").out == ["server . 3 ack 0 'C)d'"])
    #expect(talk.fromServer(6, "(e)").kind == .accepted)
  }

  @Test func parametersChangeWithoutLosingState() throws {
    let match = try Match(parsing: "any", portNamed: { _ in nil })
    func configuration(_ module: any ProcessingModule, _ revision: Int) -> Configuration {
      Configuration(flows: [
        Flow(
          id: 1, name: "f", match: match, priority: 0,
          stages: [[AttachedModule(id: 5, name: "m", revision: revision, prototype: module)]])
      ])
    }
    var talk = try Conversation([])
    talk.box.engine.apply(configuration(Self.remover, 0), at: talk.now)
    try talk.shakeHands()
    #expect(talk.fromServer(0, "axy").out == ["server . 0 ack 0 'ay'"])
    talk.box.engine.apply(configuration(ByteEditor(rule: [UInt8(ascii: "y"): []]), 1), at: talk.now)
    #expect(talk.fromServer(3, "bxy").out == ["server . 2 ack 0 'bx'"])
    #expect(talk.box.engine.statistics.modules[5]?.common.edits == 2)
  }
}

/// Makes capitals of what stands in parentheses, and may not be taken out between them.
private struct Framer: ProcessingModule {
  static let description = ModuleDescription(kind: "framer", access: .edit, help: "-")
  private var isInside = false
  private var isRetiring = false
  init(_ arguments: Arguments) {}
  init() {}
  mutating func process(_ window: inout Window) {
    for position in 0..<window.count {
      let byte = window[position]
      if byte == UInt8(ascii: "("), !isRetiring { isInside = true }
      if byte == UInt8(ascii: ")") { isInside = false }
      if isInside, (0x61...0x7A).contains(byte) { window.replace(position..<position + 1, with: [byte - 32]) }
    }
    window.releaseAll()
  }
  mutating func retire() -> Bool {
    isRetiring = true
    return !isInside
  }
}
