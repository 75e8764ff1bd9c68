import Engine
import Logging
import Synchronization

/// Modules that are not shown what their flow carries, of which the log is to tell: once for each, whatever worker finds it.
final class SkippedModules: Sendable {
  /// ``Engine/AttachedModule/id`` of those that it has told of.
  private let told = Mutex<Set<UInt32>>([])
  private let logger: Logger

  init(_ logger: Logger) { self.logger = logger }

  /// Takes note of `event`, where it is such a one.
  func note(_ event: ModuleEvent, of configuration: Configuration) {
    guard event.content.name == ModuleEvent.skipped, told.withLock({ $0.insert(event.module).inserted }) else { return }
    let flow = configuration.flows.first { $0.modules.contains { $0.id == event.module } }
    let module = flow?.modules.first { $0.id == event.module }
    logger.warning(
      "a module takes no part in the UDP of its flow; 'flowctl pm list' counts what it does not see",
      metadata: [
        "flow": "\(flow?.name ?? "")", "module": "\(module?.name ?? "")",
        "reason": "\(event.content.fields["reason"] ?? "")",
      ])
  }
}
