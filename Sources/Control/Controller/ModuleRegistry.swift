import Engine

/// The kinds of modules that may be attached, in the order in which they were given.
public struct ModuleRegistry: Sendable {
  private let types: [any ProcessingModule.Type]

  /// - Throws: where two types are of one kind, or a kind is no name.
  public init(_ types: [any ProcessingModule.Type]) throws(ControlError) {
    for (index, type) in types.enumerated() {
      let kind = type.description.kind
      try Name.check(kind, of: "module")
      guard let other = types[..<index].first(where: { $0.description.kind == kind }) else { continue }
      throw ControlError(
        .refused, "\(String(reflecting: other)) and \(String(reflecting: type)) are both of the kind '\(kind)'",
        mend: "give one of them another kind")
    }
    self.types = types
  }

  func type(ofKind kind: String) throws(ControlError) -> any ProcessingModule.Type {
    if let type = types.first(where: { $0.description.kind == kind }) { return type }
    throw ControlError(
      .notFound, "there is no module of kind '\(kind)'",
      mend: Nearest.mend(for: kind, among: types.map { $0.description.kind }) ?? "'pm types' lists them")
  }

  var kinds: [ModuleKind] { types.map { ModuleKind($0.description) } }
}

extension ModuleKind {
  init(_ description: ModuleDescription) {
    self.init(
      kind: description.kind, layer: description.layer.rawValue, access: description.access.rawValue,
      run: description.runs.map(\.rawValue), peer: description.peer,
      holdTimeMilliseconds: description.holdTime / .milliseconds(1), holdLimitOctets: description.holdLimit,
      parameters: description.parameters.map {
        Parameter(
          name: $0.name, type: $0.kind.name, defaultValue: $0.defaultValue, unit: $0.unit, help: $0.help)
      },
      counters: description.counters, help: description.help)
  }
}
