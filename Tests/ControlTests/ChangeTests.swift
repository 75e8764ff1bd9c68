import Control
import Engine
import Testing

@Suite("Changes")
struct ChangeTests {
  static let web = "flow add web tcp,tcp_dst=80"

  @Test("A flow goes to the data plane with its defaults")
  func add() throws {
    let scene = try Scene(Self.web)
    let flow = try #require(scene.dataPlane.flows.first)
    #expect(flow.name == "web")
    #expect(flow.priority == 32_768)
    #expect(flow.onFail == .pass)
    #expect(flow.modules.isEmpty)
  }

  @Test("Identifiers are never used again, and stay through changes")
  func identifiers() throws {
    let scene = try Scene(Self.web, "pm attach web look", "flow add other any")
    let first = scene.dataPlane.flows
    try scene.run("flow replace web tcp,tcp_dst=81")
    #expect(scene.dataPlane.flows.map(\.id) == first.map(\.id))
    #expect(scene.dataPlane.flows[0].modules[0].id == first[0].modules[0].id)
    try scene.run("flow del web\nflow add web any\npm attach web look")
    let last = try #require(scene.dataPlane.flows.last)
    #expect(!first.map(\.id).contains(last.id))
    #expect(last.modules[0].id != first[0].modules[0].id)
  }

  @Test("Replacing keeps the modules, and what is not given")
  func replace() throws {
    let scene = try Scene("flow add web tcp,tcp_dst=80 --priority 7", "pm attach web look")
    try scene.run("flow replace web tcp,tcp_dst=81 --on-fail pass")
    let flow = try #require(scene.dataPlane.flows.first)
    #expect(flow.priority == 7)
    #expect(flow.onFail == .pass)
    #expect(flow.modules.map(\.name) == ["look"])
    #expect(flow.match == (try Match(parsing: "tcp,tcp_dst=81", portNamed: { _ in nil })))
  }

  @Test("An equal flow may exist, another may not")
  func mayExist() throws {
    let scene = try Scene(Self.web)
    try scene.run("\(Self.web) --may-exist")
    #expect(scene.dataPlane.flows.count == 1)
    let error = scene.refusal(of: "flow add web tcp,tcp_dst=81 --priority 9 --may-exist")
    #expect(error?.kind == .exists)
    #expect(
      error?.what == """
        there is a flow 'web' already, and it differs: its match is 'tcp,tcp_dst=80', not 'tcp,tcp_dst=81'; \
        its priority is 32768, not 9
        """)
  }

  @Test("Instances get the kind's name, then a number; stages are inserted where told")
  func stages() throws {
    let scene = try Scene(Self.web, "pm attach web look", "pm attach web look", "pm attach web look --stage 1")
    #expect(scene.dataPlane.flows[0].modules.map(\.name) == ["look3", "look", "look2"])
    try scene.run("pm detach web look\npm attach web look --stage 3")
    #expect(scene.dataPlane.flows[0].modules.map(\.name) == ["look3", "look2", "look"])
    let attached = try scene.run("pm attach web swap from=a").attached
    #expect(attached.map(\.name) == ["swap"])
    #expect(attached.map(\.stage) == [4])
  }

  @Test("Setting keeps the other arguments, the identifier and the place, and raises the revision")
  func set() throws {
    let scene = try Scene(Self.web, "pm attach web swap from=a to=b limit=5", "pm attach web look")
    let before = scene.dataPlane.flows[0].modules[0]
    try scene.run("pm set web swap 'to=\\x00'")
    let after = scene.dataPlane.flows[0].modules[0]
    #expect(after.id == before.id)
    #expect(after.revision == before.revision + 1)
    let swap = try #require(after.prototype as? Swap)
    #expect(swap.from == Array("a".utf8))
    #expect(swap.to == [0])
    #expect(swap.limit == 5)
    #expect(scene.dataPlane.flows[0].modules[1].revision == 0)
  }

  @Test("What may be missing is no error")
  func ifExists() throws {
    let scene = try Scene(Self.web)
    try scene.run("flow del none --if-exists\npm detach web none --if-exists\npm detach none x --if-exists")
    #expect(scene.dataPlane.flows.count == 1)
  }

  @Test(
    "Refusals name the thing, and mend what can be mended",
    arguments: [
      ("flow add web any", .exists, "there is already a flow 'web'", "'flow replace' changes"),
      ("flow add -- -x any", .refused, "'-x' cannot name a flow", "letters"),
      ("flow add 'a b' any", .refused, "'a b' cannot name a flow", "letters"),
      ("flow add '' any", .refused, "'' cannot name a flow", "letters"),
      ("flow add x any --priority 65536", .refused, "priority 65536 is out of bounds", "0 to 65535"),
      ("flow add x ''", .refused, "", ""),
      ("flow add x tcp_dst=80", .refused, "", ""),
      ("flow replace wbe any", .notFound, "there is no flow 'wbe'", "did you mean 'web'?"),
      ("flow del wob", .notFound, "there is no flow 'wob'", "did you mean 'web'?"),
      ("flow del entirely-else", .notFound, "there is no flow", "'flow list' lists them"),
      ("pm attach nil look", .notFound, "there is no flow 'nil'", ""),
      ("pm attach web swop from=a", .notFound, "there is no module of kind 'swop'", "did you mean 'swap'?"),
      ("pm attach web swap", .refused, "parameter 'from' is missing", "'pm types swap'"),
      ("pm attach web swap from=", .refused, "parameter 'from' is empty", "'pm types swap'"),
      ("pm attach web swap from=a form=b", .refused, "'swap' has no parameter 'form'", "did you mean 'from'?"),
      ("pm attach web look x=1", .refused, "'look' has no parameter 'x'", "it takes none"),
      ("pm attach web swap from=a limit=101", .refused, "parameter 'limit' takes 0 to 100 edits, not 101", ""),
      ("pm attach web swap from=a limit=many", .refused, "takes a whole number, not 'many'", ""),
      ("pm attach web swap 'from=\\q'", .refused, "a backslash stands before", ""),
      ("pm attach web look --name one", .exists, "flow 'web' has a module 'one' already", "another '--name'"),
      ("pm attach web look --name a/b", .refused, "'a/b' cannot name a module", ""),
      ("pm attach web look --stage 3", .refused, "the flow has 1 stage", "use 1 to 2"),
      ("pm attach web look --stage 0", .refused, "no place for a stage 0", "use 1 to 2"),
      ("pm attach web look --run thread", .refused, "cannot be run as 'thread'", "only 'inline' is there yet"),
      ("pm detach web oen", .notFound, "flow 'web' has no module 'oen'", "did you mean 'one'?"),
      ("pm set web one to", .usage, "'to' is not KEY=VALUE", "from=old"),
      ("pm set web one =x", .usage, "'=x' is not KEY=VALUE", ""),
      ("pm set web one to=a to=b", .usage, "parameter 'to' is given twice", ""),
      ("pm set web one from=", .refused, "parameter 'from' is empty", ""),
      ("pm set web one lmit=3", .refused, "'swap' has no parameter 'lmit'", "did you mean 'limit'?"),
      ("pm set web one", .usage, "Missing expected argument '<key=value> ...'", "flowctl pm set --help"),
      ("flow add x", .usage, "Missing expected argument '<match>'", "flowctl flow add --help"),
      ("flow add x any --on-fail drop", .refused, "cannot 'drop' connections", "only 'pass' is there yet"),
      ("flow replace web any --on-fail reset", .refused, "cannot 'reset' connections", "only 'pass' is there yet"),
      ("flow add x any --on-fail maybe", .usage, "'maybe' is invalid", ""),
      ("flow add x any --priority ten", .usage, "'ten' is invalid", ""),
      ("flow add x any y", .usage, "Unexpected argument 'y'", ""),
      ("flow add x any --prio 3", .usage, "Unknown option '--prio'", ""),
      ("flow add --help", .usage, "a file cannot ask for help", ""),
      ("flow list", .usage, "'flow list' is no command for a file", "a file takes: flow add"),
      ("flow ad x any", .usage, "'flow ad' is no command for a file", "did you mean 'flow add'?"),
      ("flowctl flow add x any", .usage, "'flowctl flow' is no command for a file", ""),
    ] as [(String, ControlError.Kind, String, String)])
  func refusals(command: String, kind: ControlError.Kind, what: String, mend: String) throws {
    let scene = try Scene(Self.web, "pm attach web swap from=a --name one")
    let error = try #require(scene.refusal(of: "\n\(command)"))
    #expect(error.kind == kind)
    #expect(error.what.contains(what) || what.isEmpty, "\(error.what)")
    #expect(error.mend?.contains(mend) ?? mend.isEmpty, "\(error.mend ?? "no mend")")
    #expect(error.place?.hasPrefix("setup:2") == true)
  }

  @Test("A module for streams is refused where there can be none", arguments: ["udp", "icmp", "ip_proto=17", "icmp6"])
  func layer(match: String) throws {
    let scene = try Scene("flow add f \(match)", "flow add web tcp", "pm attach web look")
    #expect(scene.refusal(of: "pm attach f look")?.what.contains("TCP") == true)
    #expect(scene.refusal(of: "flow replace web \(match)")?.kind == .refused)
  }

  @Test("Every match that TCP can meet takes modules", arguments: ["any", "ip", "tcp", "tcp6", "ip_proto=6", "ipv6"])
  func layerFits(match: String) throws { _ = try Scene("flow add f \(match)", "pm attach f look") }
}
