import Control
import Foundation
import Testing

@Suite("The socket")
struct ServerTests {
  @Test(
    "What is wrong with a line is told by code and kind, and the connection lives on",
    arguments: [
      ("{", #""code":-32700"#), ("nonsense", #""code":-32700"#), ("\u{7f}", #""code":-32700"#),
      (String(repeating: "[", count: 500_000), #""code":-32700"#),
      ("[" + String(repeating: "1,", count: 5000) + "1]", "a batch holds 1 to 1000 requests"),
      ("[]", #""code":-32600"#), ("1", #""code":-32600"#), ("{}", #""code":-32600"#),
      (#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, #""code":-32600"#),
      (#"{"jsonrpc":"2.0","id":1,"method":7}"#, #""code":-32600"#),
      (#"{"jsonrpc":"2.0","id":1,"method":"ping","extra":1}"#, #""code":-32600"#),
      (#"{"jsonrpc":"2.0","id":1,"method":"flow.ad"}"#, "did you mean 'flow.add'?"),
      (#"{"jsonrpc":"2.0","id":1,"method":"flow.ad"}"#, #""code":-32601"#),
      (#"{"jsonrpc":"2.0","id":1,"method":"flow.show"}"#, #""code":-32602"#),
      (#"{"jsonrpc":"2.0","id":1,"method":"flow.show"}"#, "'name' is missing"),
      (#"{"jsonrpc":"2.0","id":1,"method":"flow.show","params":["a"]}"#, #""code":-32602"#),
      (#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":1}}"#, "unknown key 'a'"),
      (
        #"{"jsonrpc":"2.0","id":1,"method":"flow.add","params":{"name":"a","match":"any","prioriti":1}}"#,
        "did you mean 'priority'?"
      ),
      (
        #"{"jsonrpc":"2.0","id":1,"method":"flow.add","params":{"name":"a","match":"any","priority":"1"}}"#,
        "'params.priority' must be a whole number"
      ),
      (
        #"{"jsonrpc":"2.0","id":1,"method":"flow.add","params":{"name":"a","match":"any","priority":1.5}}"#,
        #""code":-32602"#
      ),
      (
        #"{"jsonrpc":"2.0","id":1,"method":"flow.add","params":{"name":"a","match":"any","on_fail":"x"}}"#,
        #""code":-32602"#
      ),
      (
        #"{"jsonrpc":"2.0","id":1,"method":"pm.attach","params":{"flow":"a","kind":"b","arguments":{"x":1}}}"#,
        #""code":-32602"#
      ),
      (
        #"{"jsonrpc":"2.0","id":1,"method":"pm.attach","params":{"flow":"a","kind":"b","stage":"1"}}"#,
        "'params.stage' must be a whole number"
      ),
      (
        #"{"jsonrpc":"2.0","id":1,"method":"pm.move","params":{"flow":"a","name":"b","stage":1,"insert":1}}"#,
        "'params.insert' must be true or false"
      ),
      (#"{"jsonrpc":"2.0","id":1,"method":"pm.move","params":{"flow":"a","name":"b"}}"#, "'params.stage' is missing"),
      (#"{"jsonrpc":"2.0","id":1,"method":"conn.show","params":{"id":"1"}}"#, "'params.id' must be a whole number"),
      (#"{"jsonrpc":"2.0","id":1,"method":"conn.kill","params":{"id":-1}}"#, #""code":-32602"#),
      (#"{"jsonrpc":"2.0","id":1,"method":"conn.kill","params":{"id":1}}"#, #""code":-32002"#),
      (
        #"{"jsonrpc":"2.0","id":1,"method":"transaction","#
          + #""params":{"changes":[{"line":1,"method":"ping","params":{}}]}}"#,
        "'ping' is no change"
      ),
      (#"{"jsonrpc":"2.0","id":1,"method":"flow.show","params":{"name":"a"}}"#, #""code":-32002"#),
      (#"{"jsonrpc":"2.0","id":"x","method":"flow.show","params":{"name":"a"}}"#, #""id":"x""#),
      (#"{"jsonrpc":"2.0","id":1,"method":"flow.add","params":{"name":"","match":"any"}}"#, #""code":-32001"#),
    ])
  func errors(line: String, expected: String) throws {
    let server = try RunningServer()
    let client = RawClient(server)
    let reply = try #require(client.ask(line))
    #expect(reply.contains(expected), "\(reply)")
    #expect(reply.contains(#""kind":""#))
    let next = client.ask(#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#)
    #expect(next == #"{"id":2,"jsonrpc":"2.0","result":{"pong":true}}"#)
    #expect(server.dataPlane.changes == 0)
  }

  @Test("Batches are answered in order without their notifications")
  func batch() throws {
    let server = try RunningServer()
    let client = RawClient(server)
    let reply = client.ask(
      #"[{"jsonrpc":"2.0","id":1,"method":"flow.add","params":{"name":"a","match":"any"}},"#
        + #"{"jsonrpc":"2.0","method":"flow.add","params":{"name":"b","match":"any"}},"#
        + #"5,{"jsonrpc":"2.0","id":null,"method":"ping"}]"#)
    let parts = try #require(reply).components(separatedBy: #""jsonrpc":"2.0""#)
    #expect(parts.count == 4)
    #expect(parts[0].hasPrefix(#"[{"id":1"#))
    #expect(parts[1].contains(#""created":true"#))
    #expect(parts[1].contains(#""code":-32600"#))
    #expect(parts[3].contains(#""pong":true"#))
    #expect(server.dataPlane.names == ["a", "b"])
  }

  @Test("A notification is obeyed and not answered")
  func notification() throws {
    let server = try RunningServer()
    let client = RawClient(server)
    client.send(#"{"jsonrpc":"2.0","method":"flow.add","params":{"name":"a","match":"any"}}"# + "\n")
    client.send(#"{"jsonrpc":"2.0","method":"no.such"}"# + "\n\n \r\n")
    #expect(client.ask(#"{"jsonrpc":"2.0","id":9,"method":"ping"}"#)?.contains(#""id":9"#) == true)
    #expect(server.dataPlane.names == ["a"])
  }

  @Test("A line that is too large is told so, and the connection ends", arguments: [true, false])
  func oversized(hasNewline: Bool) throws {
    var limits = Server.Limits()
    limits.requestSize = 1000
    let server = try RunningServer(limits: limits)
    let client = RawClient(server)
    client.send(String(repeating: "x", count: 1001) + (hasNewline ? "\n" : ""))
    #expect(client.line()?.contains(#""code":-32006"#) == true)
    #expect(client.line() == nil)
    #expect(try server.client().send(Ping()).pong)
  }

  @Test("The client hears that its request is too large although the daemon reads no further")
  func oversizedClient() throws {
    let server = try RunningServer()
    let error = #expect(throws: ControlError.self) {
      try server.client().send(FlowShow(name: String(repeating: "x", count: 4 << 20)))
    }
    #expect(error?.kind == .tooLarge)
  }

  @Test("Half a line, a vanished client and a half-closed one harm nobody")
  func rudeness() throws {
    let server = try RunningServer()
    do {
      let client = RawClient(server)
      client.send(#"{"jsonrpc":"2.0","id":1,"meth"#)
    }
    do {
      let client = RawClient(server)
      client.send(String(repeating: #"{"jsonrpc":"2.0","id":1,"method":"pm.types"}"# + "\n", count: 2000))
    }
    let client = RawClient(server)
    client.send(#"{"jsonrpc":"2.0","id":3,"method":"ping"}"#)
    client.endSending()
    #expect(client.line()?.contains(#""id":3"#) == true)
    #expect(client.line() == nil)
    #expect(server.dataPlane.changes == 0)
  }

  @Test("Requests in pieces and requests in one piece are the same")
  func pipelining() throws {
    let server = try RunningServer()
    let client = RawClient(server)
    let line = #"{"jsonrpc":"2.0","id":1,"method":"ping"}"# + "\n"
    for scalar in line.unicodeScalars { client.send(String(scalar)) }
    #expect(client.line()?.contains("pong") == true)
    client.send(String(repeating: line, count: 3000))
    for _ in 0..<3000 { #expect(client.line()?.contains("pong") == true) }
  }

  @Test("Many clients are served; one too many is told so")
  func manyClients() throws {
    var limits = Server.Limits()
    limits.clients = 40
    let server = try RunningServer(limits: limits)
    let clients = (0..<40).map { _ in RawClient(server) }
    for client in clients { client.send(#"{"jsonrpc":"2.0","id":1,"method":"ping"}"# + "\n") }
    for client in clients { #expect(client.line()?.contains("pong") == true) }
    let surplus = RawClient(server)
    #expect(surplus.line()?.contains(#""code":-32005"#) == true)
    #expect(surplus.line() == nil)
  }

  @Test("A silent client is let go")
  func idle() throws {
    var limits = Server.Limits()
    limits.idle = .milliseconds(50)
    let server = try RunningServer(limits: limits)
    let client = RawClient(server)
    client.send("{")
    #expect(client.line() == nil)
  }

  @Test("Only the owner and the group may open the socket, and it goes with the server")
  func file() throws {
    let server = try RunningServer()
    let attributes = try FileManager.default.attributesOfItem(atPath: server.path)
    #expect((attributes[.posixPermissions] as? NSNumber)?.intValue == 0o660)
    #expect(try server.client().send(Shutdown()).stopping)
    #expect(server.hasEnded())
    #expect(server.dataPlane.shutdowns == 1)
    #expect(!FileManager.default.fileExists(atPath: server.path))
  }

  @Test("A socket that somebody listens at is refused, an abandoned one is replaced, another file is left alone")
  func takeover() throws {
    let server = try RunningServer()
    let error = #expect(throws: ControlError.self) { _ = try Server(path: server.path) }
    #expect(error?.kind == .exists)
    #expect(error?.what == "a daemon listens here already")
    #expect(try server.client().send(Ping()).pong)

    let path = RunningServer.freshPath()
    do { _ = try Server(path: path) }  // never run, so that its file stays behind
    #expect(FileManager.default.fileExists(atPath: path))
    do { _ = try Server(path: path) }
    try FileManager.default.removeItem(atPath: path)

    try Data("mine".utf8).write(to: URL(fileURLWithPath: path))
    #expect(throws: ControlError.self) { _ = try Server(path: path) }
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == Data("mine".utf8))
    try FileManager.default.removeItem(atPath: path)
  }

  @Test("A path that is none is refused")
  func paths() {
    for path in ["", String(repeating: "x", count: 108), "/nonexistent/deep/x.sock"] {
      #expect(throws: ControlError.self) { _ = try Server(path: path) }
    }
  }

  @Test("Without a daemon the client says so; a deaf one is given up")
  func unavailable() throws {
    let path = RunningServer.freshPath()
    let error = #expect(throws: ControlError.self) { try Client(path: path, timeout: .seconds(1)).send(Ping()) }
    #expect(error?.exitCode == 5)
    let deaf = try Server(path: path)
    let late = #expect(throws: ControlError.self) { try Client(path: path, timeout: .milliseconds(50)).send(Ping()) }
    #expect(late?.kind == .unavailable)
    #expect(late?.what.contains("did not answer") == true)
    deaf.stop()
    try FileManager.default.removeItem(atPath: path)
  }
}
