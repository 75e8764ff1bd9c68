import Control
import Engine
import Foundation
import Testing

@Suite("flowctl", .serialized)
struct FlowctlTests {
  /// A server with a flow and two modules, made by `flowctl` itself.
  private func scene() throws -> RunningServer {
    let server = try RunningServer()
    let commands = "flow add web tcp,tcp_dst=80 --priority 9\npm attach web swap from=a 'to=b c'\npm attach web look\n"
    let applied = try server.flowctl("apply", "-", input: commands)
    #expect(applied.code == 0)
    #expect(applied.output == "3 changes made\n")
    return server
  }

  @Test(
    "Exit codes and texts",
    arguments: [
      (["ping"], 0, "pong\n"),
      (["version"], 0, "flowos  1.2.3\n"),
      (["flow", "add", "x", "any"], 0, ""),
      (["flow", "add", "web", "tcp,tcp_dst=80", "--priority", "9", "--may-exist"], 0, ""),
      (["flow", "del", "none", "--if-exists"], 0, ""),
      (["pm", "attach", "web", "look"], 0, "look2\n"),
      (
        ["pm", "attach", "web", "swap", "from=x", "to=", "--name", "s", "--stage", "1", "--insert", "-j"], 0,
        #"{"flow":"web","name":"s","stage":1}"# + "\n"
      ),
      (["-j", "pm", "set", "web", "swap", "to=z"], 0, #"{"revision":1}"# + "\n"),
      (["flow", "-j", "del", "web"], 0, #"{"deleted":true}"# + "\n"),
      (["pm", "move", "web", "swap", "--stage", "2"], 0, ""),
      (["pm", "move", "web", "swap", "--stage", "3", "-j"], 0, #"{"stage":2}"# + "\n"),
      (["pm", "move", "web", "look", "--stage", "1", "--insert", "-j"], 0, #"{"stage":1}"# + "\n"),
      (["pm", "detach", "web", "look", "-j"], 0, #"{"detached":true}"# + "\n"),
      (
        ["flow", "list"], 0,
        """
        NAME  PRIORITY  ON-FAIL  MODULES    MATCH
        web          9  pass     swap,look  tcp,tcp_dst=80

        """
      ),
      (
        ["flow", "list", "--json"], 0,
        #"{"flows":[{"match":"tcp,tcp_dst=80","modules":[{"access":"edit","arguments":{"from":"a","to":"b c"},"flow":"web","#
          + #""kind":"swap","layer":"app","name":"swap","revision":0,"run":"inline","stage":1},"#
          + #"{"access":"read","arguments":{},"flow":"web","kind":"look","layer":"app","name":"look","revision":0,"#
          + #""run":"inline","stage":2}],"name":"web","on_fail":"pass","priority":9}]}"# + "\n"
      ),
      (
        ["flow", "show", "web"], 0,
        """
        flow web
          match     tcp,tcp_dst=80
          priority  9
          on-fail   pass

        STAGE  NAME  KIND  LAYER  ACCESS  RUN     ARGUMENTS
            1  swap  swap  app    edit    inline  from=a 'to=b c'
            2  look  look  app    read    inline

        """
      ),
      (
        ["pm", "types"], 0,
        """
        KIND  LAYER  ACCESS  RUN            PARAMETERS     HELP
        swap  app    edit    inline,thread  from,to,limit  Replaces bytes.
        look  app    read    inline,thread                 Only looks.
        tap   ip     read    inline,thread                 Sees packets.
        trim  tcp    edit    inline,thread                 Edits segments.
        wait  app    read    thread                        Reads like a program.

        """
      ),
      (
        ["pm", "types", "swap"], 0,
        """
        swap: Replaces bytes.
          layer     app
          access    edit
          runs      inline or thread
          holds     64.0 KiB for 200 ms at the most
          counts    matches, left_alone

        PARAMETER  TYPE            DEFAULT   UNIT   HELP
        from       bytes           required         What is replaced.
        to         bytes           ''               What it is replaced with.
        limit      integer 0..100  0         edits  After so many it stops.

        """
      ),
      (
        ["pm", "types", "wait"], 0,
        """
        wait: Reads like a program.
          layer     app
          access    read
          runs      thread, for it waits for its bytes
          holds     64.0 KiB for 200 ms at the most

        """
      ),
      (
        ["dump"], 0,
        """
        flow add web tcp,tcp_dst=80 --priority 9 --on-fail pass
        pm attach web swap from=a 'to=b c' --name swap
        pm attach web look --name look

        """
      ),
    ] as [([String], Int32, String)])
  func good(arguments: [String], code: Int32, output: String) throws {
    let run = try scene().flowctl(arguments)
    #expect(run.complaint == "")
    #expect(run.code == code)
    #expect(output.isEmpty ? run.output.isEmpty : run.output.hasSuffix(output), "\(run.output)")
  }

  @Test(
    "Failures",
    arguments: [
      (["flow", "add", "x", ""], 1, "flowctl: match ''"),
      (["pm", "attach", "web", "wait", "--run", "inline"], 1, "run it as 'thread'"),
      (["pm", "attach", "web", "swap", "from=x", "--stage", "1"], 1, "stage 1 has an editor already: 'swap'"),
      (["pm", "attach", "web", "look", "--stage", "4"], 1, "use 1 to 3"),
      (["pm", "move", "web", "look", "--stage", "4"], 1, "use 1 to 3"),
      (["pm", "move", "web", "look"], 2, "Missing expected argument '--stage"),
      (["pm", "attach", "web", "look", "--insert"], 2, "give '--stage' too"),
      (["pm", "move", "web", "lok", "--stage", "1"], 3, "did you mean 'look'?"),
      (["pm", "attach", "web", "lock"], 3, "there is no module of kind 'lock'\n  did you mean 'look'?"),
      (["conn", "list", "--limit", "0"], 1, "use 1 to 65536"),
      (["conn", "show", "one"], 2, "'one' is invalid"),
      (["conn", "kill"], 2, "Missing expected argument '<id>'"),
      (["conn", "show", "7"], 3, "there is no connection 7\n  'conn list' lists them"),
      (["conn", "kill", "7"], 3, "there is no connection 7\n  'conn list' lists them"),
      (["monitor", "-e", "failed,"], 2, "a type of events is empty"), (["monitor", "-e", ""], 2, "a type of events"),
      (["monitor", "wbe"], 3, "there is no flow 'wbe'\n  did you mean 'web'?"),
      (["monitor", "--socket", "/nonexistent/x.sock"], 5, "no daemon listens here"),
      ([], 2, "A command is missing"), (["flow"], 2, "A command is missing"), (["conn"], 2, "A command is missing"),
      (["nonsense"], 2, "nonsense"), (["flow", "add", "x"], 2, "Missing expected argument '<match>'"),
      (["flow", "add", "x", "any", "--on-fail", "perhaps"], 2, "'perhaps' is invalid"),
      (["pm", "set", "web", "swap", "to"], 2, "'to' is not KEY=VALUE"),
      (["stats", "--watch", "0"], 2, "--watch takes"), (["ping", "--timeout", "0"], 2, "--timeout takes"),
      (["ping", "--timeout", "nan"], 2, "--timeout takes"),
      (["apply", "/nonexistent"], 2, "/nonexistent: cannot read it"),
      (["flow", "show", "wbe"], 3, "there is no flow 'wbe'\n  did you mean 'web'?"),
      (["flow", "del", "none"], 3, "there is no flow 'none'"), (["pm", "list", "none"], 3, "there is no flow"),
      (["pm", "types", "lok"], 3, "did you mean 'look'?"), (["stats", "none"], 3, "there is no flow 'none'"),
      (["conn", "list", "none"], 3, "there is no flow 'none'"),
      (["pm", "detach", "web", "none"], 3, "flow 'web' has no module 'none'"),
      (["flow", "add", "web", "any"], 4, "there is already a flow 'web'"),
      (["pm", "attach", "web", "look", "--name", "look"], 4, "has a module 'look' already"),
      (["ping", "--socket", "/nonexistent/x.sock"], 5, "no daemon listens here"),
      (["--socket", "/nonexistent/x.sock", "dump"], 5, "start one with 'flowos run'"),
    ] as [([String], Int32, String)])
  func bad(arguments: [String], code: Int32, complaint: String) throws {
    let server = try scene()
    let run = try server.flowctl(arguments)
    #expect(run.code == code)
    #expect(run.output == "")
    #expect(run.complaint.contains(complaint), "\(run.complaint)")
    #expect(server.dataPlane.changes == 1)
  }

  @Test(
    "Errors are JSON for scripts",
    arguments: [["flow", "show", "wbe", "-j"], ["-j", "flow"], ["flow", "add", "--json"]])
  func jsonErrors(arguments: [String]) throws {
    let run = try scene().flowctl(arguments)
    let object = try JSONSerialization.jsonObject(with: Data(run.complaint.utf8))
    let json = try #require(object as? [String: [String: String]])
    #expect(json["error"]?["kind"] != nil)
    #expect(json["error"]?["what"] != nil)
    #expect(json["error"]?["mend"] != nil)
  }

  @Test("Help is no failure", arguments: [["--help"], ["flow", "-h"], ["help", "pm", "attach"], ["--version"]])
  func help(arguments: [String]) throws {
    let run = try FlowctlProcess(arguments)
    #expect(run.code == 0)
    #expect(!run.output.isEmpty)
    #expect(run.complaint.isEmpty)
  }

  @Test("A file is tried, applied, dumped and applied again")
  func apply() throws {
    let server = try RunningServer()
    let file = server.path + ".flow"
    defer { try? FileManager.default.removeItem(atPath: file) }
    try Data("flow add a any\npm attach a swap 'from=\\x00 x'\n".utf8).write(to: URL(fileURLWithPath: file))
    #expect(try server.flowctl("apply", file, "--check").output == "2 changes would be made\n")
    #expect(server.dataPlane.changes == 0)
    #expect(try server.flowctl("apply", file, "-j").output.contains(#""applied":true"#))
    let dump = try server.flowctl("dump").output
    let again = try RunningServer()
    #expect(try again.flowctl("apply", "-", input: dump).code == 0)
    #expect(try again.flowctl("dump").output == dump)

    let exists = try server.flowctl("apply", file)
    #expect(exists.code == 4)
    #expect(exists.complaint.hasPrefix("flowctl: \(file):1: there is already a flow 'a'\n"))
    let broken = try server.flowctl("apply", "-", input: "flow add b any\nflow add c 'any\n")
    #expect(broken.code == 2)
    #expect(broken.complaint.contains("(standard input):2: "))
    #expect(server.dataPlane.names == ["a"])
  }

  @Test("Statistics show totals, flows, modules and what modules count themselves")
  func statistics() throws {
    let server = try scene()
    let flow = try #require(server.dataPlane.flows.first)
    server.dataPlane.show(flow)
    let text = try server.flowctl("stats").output
    for line in [
      "packets                    3", "octets               1.5 KiB", "connections                1",
      "KERNEL\nqueue_overruns    7\nverdict_failures  0\n",
      "memory in use        2.0 MiB", "FLOW  PACKETS   OCTETS  CONNECTIONS", "web         3  1.5 KiB            1",
      "FLOW  MODULE  KIND    IN  OUT  EDITS  REMOVED  INSERTED  FORCED",
      "web   swap    swap  10 B  8 B      2      4 B       2 B       0", "web   look    look   0 B  0 B      0",
      "FLOW  MODULE  COUNTER     VALUE", "web   swap    left_alone      5", "web   swap    matches         2",
    ] { #expect(text.contains(line + "\n") || text.contains("\n" + line), "\(line)\nis not in\n\(text)") }

    let all = try #require(try json(server.flowctl("stats", "-j")))
    #expect(((all["engine"] as? [String: Any])?["counters"] as? [String: Int])?["packets"] == 3)
    #expect((all["engine"] as? [String: Any])?["memory_in_use"] as? Int == 2 << 20)
    let one = try #require(try json(server.flowctl("stats", "web", "-j")))
    #expect(one["engine"] == nil)
    let modules = (one["flows"] as? [[String: Any]])?.first?["modules"] as? [[String: Any]]
    #expect(modules?.first?["own"] as? [String: Int] == ["matches": 2, "left_alone": 5])
    #expect((modules?.first?["counters"] as? [String: Int])?["octets_removed"] == 4)
  }

  @Test("Statistics are shown again and again until the daemon is gone")
  func watch() throws {
    let server = try scene()
    Thread.detachNewThread {
      Thread.sleep(forTimeInterval: 1)
      server.stop()
    }
    let run = try server.flowctl("stats", "web", "--watch", "0.1", "-j")
    #expect(run.code == 5)
    #expect(run.output.split(separator: "\n").count > 2)
    #expect(run.output.split(separator: "\n").allSatisfy { $0.hasPrefix(#"{"flows":[{"#) })
  }

  @Test("Connections are listed with their flows, and a cut list says so")
  func connections() throws {
    let server = try scene()
    let flow = try #require(server.dataPlane.flows.first)
    server.dataPlane.show(flow)
    let text = try server.flowctl("conn", "list", "web").output
    #expect(server.dataPlane.askedFlow == flow.id)
    #expect(
      text == """
        ID  CLIENT               SERVER            STATE               FLOWS   SENT  RECEIVED  HELD  SHIFT    AGE
         1  192.0.2.1:40000      198.51.100.2:80   established edited  web/-  100 B  20.0 KiB   5/0   -3/0  1m05s
         2  [2001:db8::1]:40000  [2001:db8::2]:80  midstream           -/-      0 B       0 B   0/0    0/0   0.2s

        """)
    let cut = try server.flowctl("conn", "list", "--limit", "1")
    #expect(cut.output.hasSuffix("There are more; '--limit' lists more of them.\n"))
    let reply = try #require(try json(server.flowctl("conn", "list", "-j", "--limit", "1")))
    #expect(reply["truncated"] as? Bool == true)
    let first = try #require((reply["connections"] as? [[String: Any]])?.first)
    #expect(first["client_address"] as? String == "192.0.2.1")
    #expect(first["age_ms"] as? Int == 65_000)
    #expect((first["to_server"] as? [String: Any])?["flow"] as? String == "web")
    #expect((first["to_client"] as? [String: Any])?["flow"] == nil)
  }

  @Test("Modules are listed with what went through them and what they hold")
  func modules() throws {
    let server = try scene()
    server.dataPlane.show(try #require(server.dataPlane.flows.first))
    let text = """
      FLOW  STAGE  NAME  KIND  LAYER  ACCESS  RUN       IN  OUT     HELD  FAILED  UNSEEN  ARGUMENTS        STATE
      web       1  swap  swap  app    edit    inline  10 B  8 B  2.0 KiB       1       3  from=a 'to=b c'  working
      web       2  look  look  app    read    inline   0 B  0 B      0 B       0       0                   failed: it threw: \\x1b[2J: no

      """
    #expect(try server.flowctl("pm", "list").output == text)
    #expect(try server.flowctl("flow", "add", "other", "any").code == 0)
    #expect(try server.flowctl("pm", "list", "web").output == text)
    let reply = try #require(try json(server.flowctl("pm", "list", "-j")))
    let swap = try #require((reply["modules"] as? [[String: Any]])?.first)
    #expect(swap["octets_held"] as? Int == 2048)
    #expect(swap["state"] as? String == "working" && swap["reason"] == nil)
    let look = try #require((reply["modules"] as? [[String: Any]])?.last)
    #expect(look["state"] as? String == "failed" && look["reason"] as? String == "it threw: \u{1b}[2J: no")
    #expect((swap["counters"] as? [String: Int])?["octets_out"] == 8)
    #expect((swap["counters"] as? [String: Int])?["failures"] == 1)
    #expect(swap["layer"] as? String == "app")
    #expect(swap["access"] as? String == "edit")
  }

  @Test("A connection is shown with its directions and where each module stands")
  func connection() throws {
    let server = try scene()
    server.dataPlane.show(try #require(server.dataPlane.flows.first))
    #expect(
      try server.flowctl("conn", "show", "1").output == """
        connection 1
          client    192.0.2.1:40000
          server    198.51.100.2:80
          state     established
          edited    yes
          age       1m05s
          idle      0.0s

        DIRECTION  FLOW        IN       OUT  HELD  UNACKNOWLEDGED  SHIFT  MAP
        to-server  web      100 B     100 B   5 B             0 B     -3    1
        to-client  -     20.0 KiB  20.0 KiB   0 B             0 B      0    1

        DIRECTION         FLOW  STAGE  NAME  KIND  LAYER  PACKETS  HEAD  TAIL  HELD  RELEASED  STATE
        to-server         web       1  swap  swap  app          -    95   100     7        90  working
        to-server         web       2  look  look  app          -    97    97     0        97  retiring
        to-client (peer)  -         -  -     -     -            -     0     7     7         0  retiring
        to-server         web       2  look  look  app          -     -     -     -         -  failed: it threw: \\x1b[2J: no
        to-server         web       2  look  look  app          -     -     -     -         -  skipped: it reads from a stream
        to-client         web       2  look  look  app          3    40    60    20        30  failed: no
        to-server         -         -  -     -     -            -     9     9     0         9  retiring

        """)
    #expect(try server.flowctl("conn", "show", "2").output.hasSuffix("0 B      0    1\n"))
    let reply = try #require(try json(server.flowctl("conn", "show", "1", "-j")))
    #expect((reply["connection"] as? [String: Any])?["client_port"] as? Int == 40_000)
    let modules = try #require(reply["modules"] as? [[String: Any]])
    let states = ["working", "retiring", "retiring", "failed", "skipped", "failed", "retiring"]
    #expect(modules.map { $0["state"] as? String } == states)
    #expect(modules.map { $0["octets_held"] as? Int } == [7, 0, 7, nil, nil, 20, 0])
    #expect(modules.map { $0["octets_released"] as? Int } == [90, 97, 0, nil, nil, 30, 9])
    #expect(modules.map { $0["packets"] as? Int } == [nil, nil, nil, nil, nil, 3, nil])
    #expect(modules.map { $0["layer"] as? String } == ["app", "app", nil, "app", "app", "app", nil])
    #expect(modules.map { $0["name"] as? String } == ["swap", "look", nil, "look", "look", "look", nil])
    #expect(modules[3]["reason"] as? String == "it threw: \u{1b}[2J: no")
    #expect(modules[4]["reason"] as? String == "it reads from a stream")
    #expect(modules[0]["direction"] as? String == "to-server")
  }

  @Test("A connection is killed by its number")
  func kill() throws {
    let server = try scene()
    server.dataPlane.show(try #require(server.dataPlane.flows.first))
    #expect(try server.flowctl("conn", "kill", "2").output == "")
    #expect(try server.flowctl("-j", "conn", "kill", "1").output == #"{"killed":true}"# + "\n")
    #expect(server.dataPlane.killed == [2, 1])
    #expect(try server.flowctl("conn", "kill", "3").code == 3)
    #expect(server.dataPlane.killed == [2, 1])
  }

  @Test("Events are shown a line each, whatever stands in them, until Ctrl-C")
  func monitor() throws {
    let server = try scene()
    let run = try server.monitor()
    server.dataPlane.happen("found", ["where": "a b", "count": "2"])
    server.dataPlane.happen("odd\n", ["text": "\u{1b}[2J\n"], module: 1, connection: 0)
    let time = "2[0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9][.][0-9]{3}Z"
    for expected in [" web swap 1 found count=2 'where=a b'", #" web look - odd\x0a 'text=\x1b[2J\x0a'"#] {
      let line = try #require(run.line())
      let found = try #require(line.range(of: "^\(time)", options: .regularExpression), "\(line)")
      #expect(line[found.upperBound...] == expected)
    }
    run.interrupt()
    #expect(run.end().code == 0)
    server.waitUntil { !server.dataPlane.events.isWanted }
    #expect(!server.dataPlane.events.isWanted)
  }

  @Test("Events are JSON for scripts, of one flow and some types, until the daemon ends")
  func monitorJSON() throws {
    let server = try scene()
    #expect(try server.flowctl("apply", "-", input: "flow add other any\npm attach other look").code == 0)
    let run = try server.monitor("web", "-e", "failed,found", "--json")
    let elsewhere = try #require(server.dataPlane.flows.last).modules[0].id
    server.dataPlane.happen("seen")
    server.dataPlane.happen("failed", id: elsewhere)
    server.dataPlane.happen("failed", ["reason": "no\nmore"])
    let line = try #require(run.line())
    let event = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
    #expect(Set(event.keys) == ["time", "flow", "module", "connection", "event", "fields"])
    #expect(event["event"] as? String == "failed")
    #expect(event["flow"] as? String == "web")
    #expect(event["fields"] as? [String: String] == ["reason": "no\nmore"])
    server.dataPlane.events.post([], lost: 3)
    #expect(run.line() == #"{"lost":3}"#)
    server.stop()
    #expect(run.line() == nil)
    let end = run.end()
    #expect(end.code == 5)
    #expect(end.complaint.contains("the daemon has ended"))
  }

  @Test("The daemon is ended, and then there is none")
  func shutdown() throws {
    let server = try scene()
    #expect(try server.flowctl("shutdown").code == 0)
    #expect(server.hasEnded())
    #expect(try server.flowctl("ping").code == 5)
  }

  @Test("A stranger is kept out", .enabled(if: getuid() == 0))
  func stranger() throws {
    let server = try RunningServer()
    let process = Process()
    let flowctl = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent().path + "/flowctl"
    process.executableURL = URL(fileURLWithPath: "/usr/bin/setpriv")
    process.arguments = [
      "--reuid", "65534", "--regid", "65534", "--clear-groups", flowctl, "ping", "--socket", server.path,
    ]
    let errors = Pipe()
    process.standardError = errors
    try process.run()
    let complaint = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    #expect(process.terminationStatus == 1)
    #expect(complaint.contains("group 'flowos'"))
  }

  private func json(_ run: FlowctlProcess) throws -> [String: Any]? {
    try JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [String: Any]
  }
}
