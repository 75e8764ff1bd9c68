/// A module at work on one connection.
struct ModuleInstance {
  let id: UInt32
  /// The direction whose flow it is attached to.
  let owner: Direction
  var revision: Int
  var module: any ProcessingModule
  let description: ModuleDescription
  let tally: ModuleTally
  /// Whether `pm detach` has asked it to come to an end.
  var isRetiring = false

  init(_ attached: AttachedModule, owner: Direction, tally: ModuleTally) {
    id = attached.id
    self.owner = owner
    revision = attached.revision
    module = attached.prototype
    description = attached.description
    self.tally = tally
  }

  /// Takes over the parameters of a newer prototype.
  mutating func adopt(_ attached: AttachedModule) {
    func adopted<Module: ProcessingModule>(_ current: Module) -> any ProcessingModule {
      guard let prototype = attached.prototype as? Module else { return current }
      var current = current
      current.adopt(prototype)
      return current
    }
    module = adopted(module)
    revision = attached.revision
  }
}

/// What one attached module has counted over all connections of an engine.
@safe final class ModuleTally {
  var common = ModuleCounters()
  /// In the order of ``ModuleDescription/counters``.
  let own: UnsafeMutableBufferPointer<UInt64>

  init(ownCount: Int) {
    unsafe own = .allocate(capacity: ownCount)
    unsafe own.initialize(repeating: 0)
  }

  deinit { unsafe own.deallocate() }
}
