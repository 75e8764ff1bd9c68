import Engine
import Glibc
import ModuleTesting

extension PacketBench {
  /// Whether modules run on threads, which makes no difference: `FLOWOS_PACKETS_ON_THREADS` in the environment.
  private static let runsAsThread = unsafe getenv("FLOWOS_PACKETS_ON_THREADS") != nil

  /// Puts a module of `kind` to work where the environment says.
  convenience init<Module: ProcessingModule>(
    _ kind: Module.Type, with given: [String: String] = [:], match: String = "any"
  ) throws {
    try self.init(copyOf: Self.make(kind, given), match: match)
  }

  /// Puts a copy of `module` to work where the environment says.
  convenience init(copyOf module: any ProcessingModule, match: String) throws {
    try self.init(module, match: match, runsAsThread: Self.runsAsThread)
  }

  static func make<Module: ProcessingModule>(_ kind: Module.Type, _ given: [String: String]) throws -> Module {
    try kind.init(Arguments(given.map { (key: $0.key, value: $0.value) }, for: kind.description.parameters))
  }
}

extension PacketBench.Outcome {
  var lines: [String] { leaving.map(\.description) }
}
