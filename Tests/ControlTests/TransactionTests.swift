import Control
import Engine
import Testing

@Suite("Transactions and dumps")
struct TransactionTests {
  @Test("A bad line undoes the whole file and is named; a good file is one change")
  func allOrNothing() throws {
    let scene = try Scene("flow add web tcp,tcp_dst=80")
    let error = scene.refusal(
      of: """
        # A file
        flow add a any
        pm attach a \\
          swap from=x

        flow del web
        pm attach a swop
        flow add b any
        """)
    #expect(error?.place == "setup:7")
    #expect(error?.what == "there is no module of kind 'swop'")
    let before = scene.dataPlane.changes
    try scene.run("flow add a any\npm attach a look\nflow del web")
    #expect(scene.dataPlane.changes == before + 1)
    #expect(scene.dataPlane.flows.map(\.name) == ["a"])
  }

  @Test("What a file has moved, set and replaced is undone with it")
  func undone() throws {
    let scene = try Scene(
      "flow add web tcp,tcp_dst=80", "pm attach web swap from=a", "pm attach web look", "pm attach web swap from=b")
    for bad in ["pm move web swap2 --stage 1", "pm attach web wait --run inline", "pm attach web tap --stage 9"] {
      let error = scene.refusal(
        of: """
          pm move web look --stage 1
          pm set web swap from=c
          flow replace web udp --on-fail drop
          pm detach web swap2
          pm attach web swap from=d
          \(bad)
          """)
      #expect(error?.place?.hasPrefix("setup:6: ") == true, "\(bad): \(error?.place ?? "no place")")
    }
    try scene.run("pm move web look --stage 1\npm set web swap from=c\nflow replace web udp --on-fail drop")
    #expect(scene.dataPlane.flows[0].stages.map { $0.map(\.name) } == [["swap", "look"], ["swap2"]])
    #expect(scene.dataPlane.flows[0].onFail == .drop)
  }

  @Test("A trial changes nothing, and refuses what would be refused")
  func trial() throws {
    let scene = try Scene()
    let good = try CommandFile(parsing: "flow add a any\npm attach a look", name: "f")
    let reply = try good.transaction(asTrial: true).perform(on: scene.controller)
    #expect(reply.changes == 2)
    #expect(!reply.applied)
    #expect(reply.attached.map(\.name) == ["look"])
    #expect(scene.dataPlane.changes == 0)
    #expect(scene.dump.isEmpty)
    let bad = try CommandFile(parsing: "flow del a", name: "f")
    #expect(throws: ControlError.self) { try bad.transaction(asTrial: true).perform(on: scene.controller) }
  }

  @Test("What dump prints, apply takes back, to the byte")
  func roundTrip() throws {
    let scene = try Scene(
      "flow add web tcp,tcp_dst=80 --priority 9 --on-fail reset", "flow add second 'any'",
      "flow add by-port in_port=lan0,nw_src=10.1.2.3/8,tcp",
      "pm attach web swap 'from=\\x00\\x01' to= limit=3 --name first",
      "pm attach web swap \"from=it's #1 \\\\\\\\n\" \"to=a\tb\"", "pm attach web look --stage 1",
      "pm attach web look --stage 3 --run thread", "pm attach web look --stage 1", "pm attach web wait",
      "pm move web look3 --stage 1 --insert", "pm attach second swap 'from=ü=\"x\"'")
    #expect(
      scene.dump == """
        flow add web tcp,tcp_dst=80 --priority 9 --on-fail reset
        pm attach web look --name look3
        pm attach web swap 'from=\\x00\\x01' to= limit=3 --name first
        pm attach web look --name look --stage 2
        pm attach web swap 'from=it'\\''s #1 \\\\n' 'to=a\tb' --name swap
        pm attach web look --name look2 --run thread
        pm attach web wait --name wait
        flow add second any --priority 32768 --on-fail pass
        pm attach second swap 'from=ü="x"' --name swap
        flow add by-port tcp,in_port=lan0,ipv4_src=10.0.0.0/8 --priority 32768 --on-fail pass

        """)
    let copy = try Scene(scene.dump)
    #expect(copy.dump == scene.dump)
    func pipelines(_ scene: Scene) -> [[[String]]] {
      scene.dataPlane.flows.map { $0.stages.map { $0.map { "\($0.name) \($0.run)" } } }
    }
    #expect(pipelines(copy) == pipelines(scene))
    #expect(
      pipelines(copy)[0] == [
        ["look3 inline"], ["first inline", "look inline"], ["swap inline"], ["look2 thread"], ["wait thread"],
      ])
    #expect(copy.dataPlane.flows.map(\.match) == scene.dataPlane.flows.map(\.match))
    let edits = copy.dataPlane.flows.flatMap(\.modules).compactMap { $0.prototype as? Swap }
    #expect(edits.map(\.from) == [[0, 1], Array(#"it's #1 \n"#.utf8), Array("ü=\"x\"".utf8)])
  }

  @Test("A file makes a configuration without a daemon")
  func configuration() throws {
    let file = try CommandFile(parsing: "flow add a tcp\npm attach a look\n", name: "f")
    let configuration = try file.configuration(registry: .test, portNamed: { _ in nil })
    #expect(configuration.flows.map(\.name) == ["a"])
    #expect(configuration.flows[0].modules.map(\.name) == ["look"])
    let bad = try CommandFile(parsing: "flow add a tcp\npm attach b look\n", name: "f")
    let error = #expect(throws: ControlError.self) {
      try bad.configuration(registry: .test, portNamed: { _ in nil })
    }
    #expect(error?.place == "f:2")
  }

  @Test("A file that cannot be read says so")
  func unreadable() {
    let error = #expect(throws: ControlError.self) { try CommandFile(path: "/nonexistent/file") }
    #expect(error?.place == "/nonexistent/file")
    #expect(error?.kind == .usage)
  }
}
