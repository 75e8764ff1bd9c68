import Control
import Engine
import Synchronization

/// Keeps what it is told, and tells what the test wants.
final class FakeDataPlane: DataPlane, Sendable {
  struct State: Sendable {
    var configurations: [Configuration] = []
    var statistics = Statistics()
    var connections: [ConnectionInfo] = []
    var shutdowns = 0
    var askedFlow: UInt32?
    var onShutdown: (@Sendable () -> Void)?
  }

  let state = Mutex(State())

  func apply(_ configuration: Configuration) { state.withLock { $0.configurations.append(configuration) } }

  func statistics() -> Statistics { state.withLock { $0.statistics } }

  func connections(flow: UInt32?, limit: Int) -> [ConnectionInfo] {
    state.withLock {
      $0.askedFlow = flow
      return Array($0.connections.prefix(limit))
    }
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
    (common.octetsRemoved, common.octetsInserted) = (4, 2)
    state.withLock { [common] in
      ($0.statistics.engine.packets, $0.statistics.engine.octets) = (3, 1536)
      $0.statistics.kernel = ["queue_overruns": 7, "verdict_failures": 0]
      ($0.statistics.connections, $0.statistics.memoryInUse) = (1, 2 << 20)
      var counters = FlowCounters()
      (counters.packets, counters.octets, counters.connections) = (3, 1536, 1)
      $0.statistics.flows[flow.id] = counters
      $0.statistics.modules[flow.modules[0].id] = (common, [2, 5])
      $0.connections = [
        ConnectionInfo(
          id: 1, clientAddress: IPAddress(v4: 0xC000_0201), clientPort: 40_000,
          serverAddress: IPAddress(v4: 0xC633_6402), serverPort: 80, state: "established", isEdited: true,
          age: .seconds(65), idle: .milliseconds(20),
          toServer: direction(flow.id, in: 100, held: 5, shift: -3), toClient: direction(in: 20_480)),
        ConnectionInfo(
          id: 2, clientAddress: IPAddress(high: 0x2001_0db8_0000_0000, low: 1), clientPort: 40_000,
          serverAddress: IPAddress(high: 0x2001_0db8_0000_0000, low: 2), serverPort: 80, state: "midstream",
          isEdited: false, age: .milliseconds(250), idle: 0, toServer: direction(), toClient: direction()),
      ]
    }
  }

  var names: [String] { flows.map(\.name) }
  var shutdowns: Int { state.withLock { $0.shutdowns } }
  var changes: Int { state.withLock { $0.configurations.count } }
}
