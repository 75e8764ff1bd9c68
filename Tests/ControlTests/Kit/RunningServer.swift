import Control
import Foundation
import Synchronization

/// A server on a thread of its own, over a controller with a fake data plane.
final class RunningServer: Sendable {
  let path: String
  let dataPlane = FakeDataPlane()
  private let server: Server
  private let ended = DispatchSemaphore(value: 0)

  init(limits: Server.Limits = Server.Limits()) throws {
    path = Self.freshPath()
    server = try Server(path: path, limits: limits)
    dataPlane.state.withLock { [server] in $0.onShutdown = { server.stop() } }
    Thread.detachNewThread { [server, dataPlane, ended] in
      let responder = Responder(Controller(registry: .test, dataPlane: dataPlane, version: "1.2.3"))
      try? server.run(responder)
      ended.signal()
    }
  }

  /// Whether the server has come to its end within a few seconds.
  func hasEnded() -> Bool {
    defer { ended.signal() }
    return ended.wait(timeout: .now() + 5) == .success
  }

  /// Waits until `condition` holds, for some seconds at the most.
  func waitUntil(_ condition: () -> Bool) {
    for _ in 0..<5_000 where !condition() { Thread.sleep(forTimeInterval: 0.001) }
  }

  func stop() { server.stop() }

  deinit {
    server.stop()
    // The socket's file goes with the server, and must be gone before the process is.
    _ = hasEnded()
  }

  func client() throws(ControlError) -> Client { try Client(path: path, timeout: .seconds(10)) }

  private static let count = Atomic(0)

  static func freshPath() -> String {
    "/tmp/flowos-test-\(getpid())-\(count.add(1, ordering: .relaxed).newValue).sock"
  }
}
