/// What the control side asks of the data plane: the flows, their pipelines and the classifier over them.
///
/// Immutable: a change makes a new one, and every engine swaps it in between two batches of packets.
public struct Configuration: Sendable {
  /// The flows, in the order of ``Classifier``'s indices.
  public let flows: [Flow]
  let classifier: Classifier

  public init(flows: [Flow]) {
    self.flows = flows
    self.classifier = Classifier(flows.map { ($0.match, $0.priority) })
  }

  public static let empty = Configuration(flows: [])

  /// Whether a connection whose SYN has `key` may be edited as things stand, in either direction.
  func mayEdit(_ key: FlowKey) -> Bool {
    let indices = [classifier.lookup(key), classifier.lookupWithoutLink(key.reversed())]
    return indices.contains { $0.map { flows[$0].isEditing } ?? false }
  }
}

/// A named match with a priority and the pipeline that its packets go through.
public struct Flow: Sendable {
  /// What happens to a connection whose module fails.
  public enum FailurePolicy: String, Sendable, CaseIterable {
    /// Its bytes go on unedited.
    case pass
    /// Its packets are dropped.
    case drop
    /// Both ends get a reset.
    case reset
  }

  /// Stable for as long as the flow exists, and never used again.
  public let id: UInt32
  public let name: String
  public let match: Match
  public let priority: Int
  public let onFail: FailurePolicy
  /// The modules in the order of their stages.
  public let pipeline: [AttachedModule]
  /// Whether one of them edits.
  let isEditing: Bool

  public init(
    id: UInt32, name: String, match: Match, priority: Int, onFail: FailurePolicy = .pass,
    pipeline: [AttachedModule] = []
  ) {
    self.id = id
    self.name = name
    self.match = match
    self.priority = priority
    self.onFail = onFail
    self.pipeline = pipeline
    isEditing = pipeline.contains { $0.description.access == .edit }
  }
}

/// One module in a flow's pipeline.
public struct AttachedModule: Sendable {
  /// Stable for as long as the module is attached, and never used again.
  public let id: UInt32
  /// The instance's name, unique within the flow.
  public let name: String
  /// Goes up with every `pm set`: running connections then ``ProcessingModule/adopt(_:)`` the new prototype.
  public let revision: Int
  public let prototype: any ProcessingModule

  public init(id: UInt32, name: String, revision: Int = 0, prototype: any ProcessingModule) {
    self.id = id
    self.name = name
    self.revision = revision
    self.prototype = prototype
  }

  public var description: ModuleDescription { type(of: prototype).description }
}
