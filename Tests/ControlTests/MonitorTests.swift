import Control
import Engine
import Foundation
import Testing

@Suite("Monitoring")
struct MonitorTests {
  private func server(_ limits: Server.Limits = Server.Limits()) throws -> RunningServer {
    let server = try RunningServer(limits: limits)
    let setup = try CommandFile(
      parsing: "flow add web tcp\npm attach web look\nflow add dns udp\npm attach dns look", name: "setup")
    _ = try server.client().send(setup.transaction())
    return server
  }

  private func monitor(_ parameters: String = "{}") -> String {
    #"{"jsonrpc":"2.0","id":1,"method":"monitor","params":\#(parameters)}"#
  }

  private let yes = #"{"id":1,"jsonrpc":"2.0","result":{"monitoring":true}}"#

  /// What stands in a notification.
  private func notification(_ line: String?) throws -> (method: String, params: [String: Any]) {
    let object = try JSONSerialization.jsonObject(with: Data(try #require(line).utf8))
    let message = try #require(object as? [String: Any])
    #expect(message["jsonrpc"] as? String == "2.0")
    #expect(message["id"] == nil)
    return (try #require(message["method"] as? String), try #require(message["params"] as? [String: Any]))
  }

  @Test("Each client gets the events that it has asked for, from then on, and answers between them")
  func filters() throws {
    let server = try server()
    let (web, dns) = (server.dataPlane.flows[0].modules[0].id, server.dataPlane.flows[1].modules[0].id)
    server.dataPlane.happen("early", id: web)
    let (all, flow, type) = (RawClient(server), RawClient(server), RawClient(server))
    #expect(all.ask(monitor()) == yes)
    #expect(flow.ask(monitor(#"{"flow":"dns"}"#)) == yes)
    #expect(type.ask(monitor(#"{"types":["b","c"]}"#)) == yes)
    server.dataPlane.happen("a", ["k": "v"], id: web, connection: 5)
    server.dataPlane.happen("b", id: dns, connection: 0)
    server.dataPlane.happen("c", id: 999)

    let first = try notification(all.line())
    #expect(first.method == "event")
    #expect(first.params["event"] as? String == "a")
    #expect(first.params["flow"] as? String == "web")
    #expect(first.params["module"] as? String == "look")
    #expect(first.params["connection"] as? Int == 5)
    #expect(first.params["fields"] as? [String: String] == ["k": "v"])
    let second = try notification(all.line()).params
    #expect(second["event"] as? String == "b")
    #expect(second["connection"] == nil)
    let third = try notification(all.line()).params
    #expect(third["event"] as? String == "c")
    #expect(third["module"] == nil)
    #expect(try notification(flow.line()).params["event"] as? String == "b")
    for name in ["b", "c"] { #expect(try notification(type.line()).params["event"] as? String == name) }

    #expect(flow.ask(#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#)?.contains("pong") == true)
    #expect(flow.ask(monitor(#"{"flow":"web"}"#)) == yes)
    server.dataPlane.happen("d", id: web)
    #expect(try notification(flow.line()).params["event"] as? String == "d")
  }

  @Test(
    "What cannot be monitored is refused, and then nothing is sent",
    arguments: [
      (#"{"flow":"wbe"}"#, #""code":-32002"#), (#"{"types":[]}"#, #""code":-32602"#),
      (#"{"types":["a",""]}"#, #""code":-32602"#), (#"{"types":"a"}"#, "'params.types' must be an array"),
      (#"{"type":["a"]}"#, "did you mean 'types'?"),
    ])
  func refusals(parameters: String, expected: String) throws {
    let server = try server()
    let client = RawClient(server)
    #expect(client.ask(monitor(parameters))?.contains(expected) == true)
    #expect(!server.dataPlane.events.isWanted)
    server.dataPlane.happen("a", id: 1)
    #expect(client.ask(#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#)?.contains("pong") == true)
  }

  @Test("A client that takes its events too slowly is told how many it has lost, and goes on")
  func loss() throws {
    var limits = Server.Limits()
    limits.backlog = 10_000
    let server = try server(limits)
    let client = RawClient(server)
    #expect(client.ask(monitor()) == yes)
    let total = 30_000
    for _ in 0..<30 {
      server.dataPlane.happen("a", ["text": String(repeating: "x", count: 100)], id: 1, count: total / 30)
      #expect(try server.client().send(Ping()).pong)
    }
    server.dataPlane.happen("a", id: 1, count: EventFeed.capacity + 10)
    var (received, lost) = (0, 0)
    while received + lost < total + EventFeed.capacity + 10 {
      let (method, parameters) = try notification(client.line())
      switch method {
      case "event": received += 1
      default: lost += try #require(parameters["lost"] as? Int)
      }
    }
    #expect(received + lost == total + EventFeed.capacity + 10)
    #expect(received > 0)
    #expect(lost > 0)
    server.dataPlane.happen("last", id: 1)
    #expect(try notification(client.line()).params["event"] as? String == "last")
  }

  @Test("A client that monitors may be silent and may have ended its requests; when it hangs up, nobody listens")
  func silence() throws {
    var limits = Server.Limits()
    limits.idle = .milliseconds(20)
    let server = try server(limits)
    do {
      let client = RawClient(server)
      #expect(client.ask(monitor()) == yes)
      client.endSending()
      Thread.sleep(forTimeInterval: 0.1)
      server.dataPlane.happen("a", id: 1)
      #expect(try notification(client.line()).params["event"] as? String == "a")
    }
    server.waitUntil { !server.dataPlane.events.isWanted }
    #expect(!server.dataPlane.events.isWanted)
    #expect(try server.client().send(Ping()).pong)
  }
}
