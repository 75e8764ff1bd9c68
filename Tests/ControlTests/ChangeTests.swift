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
    try scene.run("flow replace web tcp,tcp_dst=81 --on-fail reset")
    let flow = try #require(scene.dataPlane.flows.first)
    #expect(flow.priority == 7)
    #expect(flow.onFail == .reset)
    #expect(flow.modules.map(\.name) == ["look"])
    #expect(flow.match == (try Match(parsing: "tcp,tcp_dst=81", portNamed: { _ in nil })))
  }

  @Test("An equal flow may exist, another may not")
  func mayExist() throws {
    let scene = try Scene(Self.web)
    try scene.run("\(Self.web) --may-exist")
    #expect(scene.dataPlane.flows.count == 1)
    let error = scene.refusal(of: "flow add web tcp,tcp_dst=81 --priority 9 --on-fail drop --may-exist")
    #expect(error?.kind == .exists)
    #expect(
      error?.what == """
        there is a flow 'web' already, and it differs: its match is 'tcp,tcp_dst=80', not 'tcp,tcp_dst=81'; \
        its priority is 32768, not 9; its on-fail is 'pass', not 'drop'
        """)
  }

  /// The names of the modules of the first flow, stage by stage.
  private func stages(_ scene: Scene) -> [[String]] { scene.dataPlane.flows[0].stages.map { $0.map(\.name) } }

  @Test("What becomes of connections whose module fails is handed on", arguments: Flow.FailurePolicy.allCases)
  func onFail(policy: Flow.FailurePolicy) throws {
    let scene = try Scene("flow add web tcp --on-fail \(policy)")
    #expect(scene.dataPlane.flows[0].onFail == policy)
    #expect(scene.dump == "flow add web tcp --priority 32768 --on-fail \(policy)\n")
  }

  @Test("Instances get the kind's name, then a number, and a new last stage")
  func names() throws {
    let scene = try Scene(Self.web, "pm attach web look", "pm attach web look", "pm attach web look")
    #expect(stages(scene) == [["look"], ["look2"], ["look3"]])
    try scene.run("pm detach web look")
    let attached = try scene.run("pm attach web look\npm attach web swap from=a").attached
    #expect(attached.map(\.name) == ["look", "swap"])
    #expect(attached.map(\.stage) == [3, 4])
    #expect(stages(scene) == [["look2"], ["look3"], ["look"], ["swap"]])
  }

  @Test("A module joins the stage it is told, or gets a new one in front of it")
  func joining() throws {
    let scene = try Scene(Self.web, "pm attach web swap from=a", "pm attach web look --stage 1 --name one")
    #expect(stages(scene) == [["swap", "one"]])
    let attached = try scene.run(
      """
      pm attach web look --stage 2 --name two
      pm attach web swap from=b --stage 1 --insert --name first
      pm attach web look --stage 2 --name three
      pm attach web look --stage 4 --insert --name last
      """
    ).attached
    #expect(attached.map(\.stage) == [2, 1, 2, 4])
    #expect(stages(scene) == [["first"], ["swap", "one", "three"], ["two"], ["last"]])
    let error = scene.refusal(of: "pm attach web swap from=c --stage 2")
    #expect(error?.what == "stage 2 has an editor already: 'swap'")
  }

  @Test("A module moves as the stages are numbered before it, and an empty stage closes up")
  func moving() throws {
    let scene = try Scene(
      Self.web, "pm attach web swap from=x limit=7 --name a", "pm attach web look --name b",
      "pm attach web swap from=y --name c")
    let before = scene.dataPlane.flows[0].modules
    let moves = [
      ("a --stage 2", [["b", "a"], ["c"]]), ("a --stage 1", [["b", "a"], ["c"]]),
      ("a --stage 1 --insert", [["a"], ["b"], ["c"]]), ("a --stage 1 --insert", [["a"], ["b"], ["c"]]),
      ("a --stage 4", [["b"], ["c"], ["a"]]), ("a --stage 2 --insert", [["b"], ["a"], ["c"]]),
      ("b --stage 3", [["a"], ["c", "b"]]), ("c --stage 1 --insert", [["c"], ["a"], ["b"]]),
    ]
    for (move, expected) in moves {
      try scene.run("pm move web \(move)")
      #expect(stages(scene) == expected, "\(move)")
    }
    let after = scene.dataPlane.flows[0].modules
    for module in before {
      let moved = try #require(after.first { $0.name == module.name })
      #expect(moved.id == module.id)
      #expect(moved.revision == module.revision)
    }
    #expect((after.first { $0.name == "a" }?.prototype as? Swap)?.limit == 7)
    #expect(try ModuleMove(flow: "web", name: "c", stage: 4).perform(on: scene.controller).stage == 3)
  }

  @Test("A module runs as it is told, and without a word as it can")
  func run() throws {
    let scene = try Scene(
      Self.web, "pm attach web look", "pm attach web look --run thread", "pm attach web look --run inline",
      "pm attach web wait", "pm attach web wait --run thread", "pm attach web tap --run inline", "pm attach web trim",
      "pm attach web tap --run thread", "pm attach web trim --run thread")
    #expect(
      scene.dataPlane.flows[0].modules.map(\.run) == [
        .inline, .thread, .inline, .thread, .thread, .inline, .inline, .thread, .thread,
      ])
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
      ("pm attach web look --stage=-1", .refused, "no place for a stage -1", "use 1 to 2"),
      ("pm attach web look --stage 3 --insert", .refused, "the flow has 1 stage", "use 1 to 2"),
      ("pm attach web look --stage one", .usage, "'one' is invalid", ""),
      ("pm attach web look --insert", .usage, "in front of which stage", "'--stage'"),
      ("pm attach web swap from=b --stage 1", .refused, "stage 1 has an editor already: 'one'", "'--insert'"),
      ("pm attach web trim --stage 1", .refused, "stage 1 has an editor already: 'one'", "'--insert'"),
      ("pm attach web look --stage 0", .refused, "no place for a stage 0", "use 1 to 2"),
      ("pm attach web look --run process", .refused, "cannot be run as 'process'", "'inline' or 'thread'"),
      ("pm attach web look --run ''", .refused, "cannot be run as ''", "'inline' or 'thread'"),
      ("pm attach web wait --run inline", .refused, "'wait' waits for its bytes", "'thread'"),
      ("pm move web oen --stage 1", .notFound, "flow 'web' has no module 'oen'", "did you mean 'one'?"),
      ("pm move wob one --stage 1", .notFound, "there is no flow 'wob'", "did you mean 'web'?"),
      ("pm move web one --stage 3", .refused, "the flow has 1 stage", "use 1 to 2"),
      ("pm move web one --stage 0 --insert", .refused, "no place for a stage 0", "use 1 to 2"),
      ("pm move web one", .usage, "Missing expected argument '--stage", "flowctl pm move --help"),
      ("pm attach web swap from=b\npm move web swap --stage 1", .refused, "has an editor already: 'one'", "'--insert'"),
      ("pm detach web oen", .notFound, "flow 'web' has no module 'oen'", "did you mean 'one'?"),
      ("pm set web one to", .usage, "'to' is not KEY=VALUE", "from=old"),
      ("pm set web one =x", .usage, "'=x' is not KEY=VALUE", ""),
      ("pm set web one to=a to=b", .usage, "parameter 'to' is given twice", ""),
      ("pm set web one from=", .refused, "parameter 'from' is empty", ""),
      ("pm set web one lmit=3", .refused, "'swap' has no parameter 'lmit'", "did you mean 'limit'?"),
      ("pm set web one", .usage, "Missing expected argument '<key=value> ...'", "flowctl pm set --help"),
      ("flow add x", .usage, "Missing expected argument '<match>'", "flowctl flow add --help"),
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
    #expect(error.place?.hasPrefix("setup:\(1 + command.split(separator: "\n").count)") == true)
  }

  @Test(
    "A module is refused where there can be nothing for it, when it is attached and when the match changes",
    arguments: [
      ("icmp", "look"), ("icmp6", "look"), ("ip_proto=47", "look"), ("udp", "trim"), ("udp6", "trim"),
      ("ip_proto=17", "trim"), ("icmp", "trim"), ("udp", "wait"), ("udp6,udp_dst=53", "wait"), ("icmp", "wait"),
    ])
  func layer(match: String, kind: String) throws {
    let scene = try Scene("flow add f \(match)", "flow add web tcp", "pm attach web \(kind)")
    #expect(scene.refusal(of: "pm attach f \(kind)")?.what.contains("TCP") == true)
    #expect(scene.refusal(of: "flow replace web \(match)")?.kind == .refused)
  }

  @Test("A module that reads from a stream is refused where there can be none")
  func readers() throws {
    let scene = try Scene(
      "flow add dns udp,udp_dst=53", "flow add web tcp", "flow add all any", "pm attach web wait",
      registry: .contradictory)
    #expect(
      scene.refusal(of: "pm attach dns wait")
        == ControlError(
          .refused, "the module works on TCP streams, and there can be none in the match 'udp,udp_dst=53'",
          at: "setup:1: flow 'dns', module 'wait'",
          mend: "match tcp, tcp6, ip_proto=6 or any; a module written as process(_:) works on datagrams too"))
    #expect(
      scene.refusal(of: "flow replace web udp")?.place == "setup:1: flow 'web', module 'wait'")
    for flow in ["web", "all"] {
      for kind in ["wait-packets", "wait-segments"] {
        let error = try #require(scene.refusal(of: "pm attach \(flow) \(kind)"))
        let layer = kind == "wait-packets" ? "ip" : "tcp"
        #expect(
          error
            == ControlError(
              .refused, "the module reads from a stream (run(_:)), and at the layer '\(layer)' there are packets",
              at: "setup:1: flow '\(flow)', module '\(kind)'",
              mend: "it has to be written as process(_:), without 'needsThread'; with '--run thread' that may wait too")
        )
      }
    }
    for flow in ["web", "all"] {
      #expect(
        scene.refusal(of: "pm attach \(flow) wait-both")
          == ControlError(
            .refused, "the module reads from one stream (run(_:)), and asks for the peer direction too",
            at: "setup:1: flow '\(flow)', module 'wait-both'",
            mend: "it has to be written as process(_:) and processPeer(_:), without 'needsThread'; "
              + "with '--run thread' they may wait too"))
    }
    // What a stream cannot be told from before it comes is for the engine to tell.
    try scene.run("pm attach all wait")
  }

  @Test(
    "Every match that can meet the layer takes its modules",
    arguments: [
      ("look", ["any", "ip", "ipv6", "tcp", "tcp6", "ip_proto=6", "udp", "udp6,udp_dst=53", "ip_proto=17"]),
      ("trim", ["any", "ip", "ipv6", "tcp", "tcp6", "ip_proto=6"]),
      ("wait", ["any", "ip", "ipv6", "tcp", "tcp6", "ip_proto=6"]),
      ("tap", ["any", "ip", "ipv6", "tcp", "udp", "icmp", "icmp6", "ip_proto=47"]),
    ])
  func layerFits(kind: String, matches: [String]) throws {
    for match in matches { _ = try Scene("flow add f \(match)", "pm attach f \(kind)") }
  }

  @Test("A module that can make nothing of the version of IP in the match is refused")
  func version() throws {
    let scene = try Scene(
      "flow add web ip,tcp_dst=80,ip_proto=6", "flow add six tcp6", "flow add all any",
      registry: try ModuleRegistry([Address.self]))
    for (flow, arguments, mend) in [
      ("web", "version=6", "give it arguments of IPv4, or match ipv6 or any"),
      ("six", "version=4", "give it arguments of IPv6, or match ip or any"),
    ] {
      let error = scene.refusal(of: "pm attach \(flow) address \(arguments)")
      #expect(error?.kind == .refused)
      let what = "by its arguments the module works on IPv\(arguments.suffix(1)), and the match 'tcp"
      #expect(error?.what.hasPrefix(what) == true)
      #expect(error?.place == "setup:1: flow '\(flow)', module 'address'")
      #expect(error?.mend == mend)
    }
    try scene.run("pm attach web address version=4\npm attach six address version=6\npm attach all address version=6")
    #expect(scene.refusal(of: "pm set web address version=6")?.kind == .refused)
    #expect(scene.refusal(of: "flow replace web tcp6")?.kind == .refused)
  }
}
