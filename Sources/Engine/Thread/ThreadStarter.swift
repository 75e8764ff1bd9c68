/// Who makes the threads that modules run on: the daemon real ones, a test what it likes. The engine makes none.
public protocol ThreadStarter: Sendable {
  /// Has `exchange` served, by ``ModuleExchange/serve()`` on a thread of its own, or by ``ModuleExchange/step()`` as often as is liked.
  ///
  /// - Returns: false where there can be no more threads; the module has failed then.
  func start(_ exchange: ModuleExchange) -> Bool

  /// The time, on the engine's clock; asked on any thread.
  func now() -> Instant

  /// Called on any thread when something waits for ``Engine/collect(at:)``.
  func wakeEngine()
}
