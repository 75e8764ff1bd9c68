import Control
import Synchronization

@testable import Engine

/// Keeps what it is told, and tells what the test wants.
final class FakeDataPlane: DataPlane, Sendable {
  struct State: Sendable {
    var configurations: [Configuration] = []
    var statistics = Statistics()
    var connections: [ConnectionInfo] = []
    var killed: [UInt64] = []
    var held: [UInt32: Int] = [:]
    var shutdowns = 0
    var askedFlow: UInt32?
    var onShutdown: (@Sendable () -> Void)?
  }

  let state = Mutex(State())
  /// At the time 0 for ever.
  let events = EventFeed { .zero }

  func apply(_ configuration: Configuration) { state.withLock { $0.configurations.append(configuration) } }

  func statistics() -> Statistics { state.withLock { $0.statistics } }

  func connections(flow: UInt32?, limit: Int) -> [ConnectionInfo] {
    state.withLock {
      $0.askedFlow = flow
      return Array($0.connections.prefix(limit))
    }
  }

  func connection(_ id: UInt64) -> ConnectionInfo? { state.withLock { $0.connections.first { $0.id == id } } }

  func kill(connection id: UInt64) -> Bool {
    state.withLock { state in
      guard state.connections.contains(where: { $0.id == id }) else { return false }
      state.killed.append(id)
      return true
    }
  }

  func octetsHeld() -> [UInt32: Int] { state.withLock { $0.held } }

  /// Lets a module of the first flow tell something.
  func happen(_ name: String, _ fields: [String: String] = [:], module: Int = 0, connection: UInt64 = 1) {
    happen(name, fields, id: flows[0].modules[module].id, connection: connection)
  }

  /// Lets the module of that identifier tell something, so many times.
  func happen(_ name: String, _ fields: [String: String] = [:], id: UInt32, connection: UInt64 = 1, count: Int = 1) {
    let event = ModuleEvent(
      time: .zero, module: id, connection: connection, content: ModuleEvent.Content(name, fields))
    events.post(Array(repeating: event, count: count))
  }

  func portIndex(named name: String) -> UInt32? { name == "lan0" ? 7 : nil }

  func shutdown() {
    state.withLock {
      $0.shutdowns += 1
      $0.onShutdown?()
    }
  }

  /// The flows of the last configuration.
  var flows: [Flow] { state.withLock { $0.configurations.last?.flows ?? [] } }
  var askedFlow: UInt32? { state.withLock { $0.askedFlow } }

  /// Shows figures for `flow` and its first module, a connection of the flow, and one of none.
  func show(_ flow: Flow) {
    func direction(
      _ flow: UInt32? = nil, in received: UInt64 = 0, held: Int = 0, shift: Int = 0
    ) -> ConnectionInfo.Direction {
      .init(
        flow: flow, octetsIn: received, octetsOut: received, held: held, unacknowledged: 0, shift: shift,
        mapEntries: 1)
    }
    var common = ModuleCounters()
    (common.octetsIn, common.octetsOut, common.edits) = (10, 8, 2)
    (common.octetsRemoved, common.octetsInserted, common.failures, common.unseen) = (4, 2, 1, 3)
    let modules = flow.modules.map(\.id)
    state.withLock { [common] in
      ($0.statistics.engine.packets, $0.statistics.engine.octets) = (3, 1536)
      $0.statistics.kernel = ["queue_overruns": 7, "verdict_failures": 0]
      ($0.statistics.connections, $0.statistics.memoryInUse) = (1, 2 << 20)
      var counters = FlowCounters()
      (counters.packets, counters.octets, counters.connections) = (3, 1536, 1)
      $0.statistics.flows[flow.id] = counters
      $0.statistics.modules[modules[0]] = (common, [2, 5])
      $0.held = [modules[0]: 2048]
      $0.statistics.failures = [modules[1]: "it threw: \u{1b}[2J: no"]
      $0.connections = [
        ConnectionInfo(
          id: 1, clientAddress: IPAddress(v4: 0xC000_0201), clientPort: 40_000,
          serverAddress: IPAddress(v4: 0xC633_6402), serverPort: 80, state: "established", isEdited: true,
          age: .seconds(65), idle: .milliseconds(20),
          toServer: direction(flow.id, in: 100, held: 5, shift: -3), toClient: direction(in: 20_480),
          modules: [
            .init(
              id: modules[0], direction: .toServer, isPeer: false, head: 95, tail: 100, held: 7, released: 90,
              state: "working"),
            .init(id: modules[1], direction: .toServer, isPeer: false, head: 97, tail: 97, state: "retiring"),
            .init(id: 999, direction: .toClient, isPeer: true, head: 0, tail: 7, state: "retiring"),
            .init(
              id: modules[1], direction: .toServer, isPeer: false, head: 0, tail: 0,
              state: "failed: it threw: \u{1b}[2J: no"),
            .init(
              id: modules[1], direction: .toServer, isPeer: false, state: "skipped: it reads from a stream"),
            .init(
              id: modules[1], direction: .toClient, isPeer: false, head: 40, tail: 60, released: 30, packets: 3,
              state: "failed: no"),
            // Of modules that have been detached since.
            .init(id: 998, direction: .toServer, isPeer: false, head: 9, tail: 9, state: "ended"),
            .init(id: 997, direction: .toServer, isPeer: false, state: "offloaded"),
            .init(id: 996, direction: .toServer, isPeer: false, head: 9, tail: 9, state: "working"),
          ]),
        ConnectionInfo(
          id: 2, clientAddress: IPAddress(high: 0x2001_0db8_0000_0000, low: 1), clientPort: 40_000,
          serverAddress: IPAddress(high: 0x2001_0db8_0000_0000, low: 2), serverPort: 80, state: "midstream",
          isEdited: false, age: .milliseconds(250), idle: 0, toServer: direction(), toClient: direction()),
      ]
    }
  }

  var names: [String] { flows.map(\.name) }
  var killed: [UInt64] { state.withLock { $0.killed } }
  var shutdowns: Int { state.withLock { $0.shutdowns } }
  var changes: Int { state.withLock { $0.configurations.count } }
}
