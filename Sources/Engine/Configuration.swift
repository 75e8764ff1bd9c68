/// What the control side asks of the data plane: the flows, their pipelines and the classifier over them.
///
/// Immutable: a change makes a new one, and every engine swaps it in between two batches of packets.
public struct Configuration: Sendable {
  /// The flows, in the order of ``Classifier``'s indices.
  public let flows: [Flow]
  let classifier: Classifier
  /// Whether a flow has modules that work on streams or datagrams.
  let hasStreamModules: Bool
  /// Whether a flow has modules of the layer `tcp`.
  let hasSegmentModules: Bool
  /// The flows with modules of the layer `ip`.
  private let packetFlows: Classifier
  /// Whether some of those see packets of any connection, or errors about any.
  private let showsAllPackets: Bool

  public init(flows: [Flow]) {
    self.flows = flows
    hasSegmentModules = flows.contains { $0.modules.contains { $0.description.layer == .tcp } }
    hasStreamModules = flows.contains { !$0.streamStages.isEmpty }
    self.classifier = Classifier(flows.map { ($0.match, $0.priority) })
    let ofPackets = flows.filter { $0.modules.contains { $0.description.layer == .ip } }
    packetFlows = Classifier(ofPackets.map { ($0.match, $0.priority) })
    showsAllPackets = ofPackets.contains { flow in
      flow.match.mayBeError || flow.modules.contains { $0.description.layer == .ip && $0.description.peer }
    }
  }

  public static let empty = Configuration(flows: [])

  /// Whether a module of the layer `ip` may see packets with the ends of `key`, whatever else changes from one to the next.
  func showsPackets(with key: FlowKey) -> Bool {
    showsAllPackets || packetFlows.lookupWithoutLink(key) != nil
  }

  /// Where the flow with `id` stands.
  func index(_ id: UInt32) -> Int? { flows.firstIndex { $0.id == id } }

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

    /// What becomes of a packet that a module has failed over; nil where it goes on.
    var fate: ModuleRequests.Fate? {
      switch self {
      case .pass: nil
      case .drop: .drop
      case .reset: .reset
      }
    }
  }

  /// Stable for as long as the flow exists, and never used again.
  public let id: UInt32
  public let name: String
  public let match: Match
  public let priority: Int
  public let onFail: FailurePolicy
  /// The modules of each stage, in the order of the stages.
  public let stages: [[AttachedModule]]
  /// Those that work on a stream, as ``Pipeline/Stage`` has them: readers together, an editor by itself behind them.
  let streamStages: [[AttachedModule]]
  /// Those that work on packets: in front of the first stage that works on a stream, and behind it; the editor of a stage
  /// behind its readers.
  let arrivals: [AttachedModule]
  let departures: [AttachedModule]
  /// Whether one of them edits a stream.
  let isEditing: Bool

  /// - Parameter stages: one editor in each at the most.
  public init(
    id: UInt32, name: String, match: Match, priority: Int, onFail: FailurePolicy = .pass,
    stages: [[AttachedModule]] = []
  ) {
    self.id = id
    self.name = name
    self.match = match
    self.priority = priority
    self.onFail = onFail
    self.stages = stages
    streamStages = stages.flatMap { stage in
      let stream = stage.filter { $0.description.layer == .app }
      let readers = stream.filter { $0.description.access == .read }
      return [readers].filter { !$0.isEmpty } + stream.filter { $0.description.access == .edit }.map { [$0] }
    }
    let isStream = { (module: AttachedModule) in module.description.layer == .app }
    let first = stages.firstIndex { $0.contains(where: isStream) } ?? stages.count
    let packetModules = { (stages: ArraySlice<[AttachedModule]>) in
      stages.flatMap { stage in
        stage.filter { $0.description.access == .read } + stage.filter { $0.description.access == .edit }
      }.filter { !isStream($0) }
    }
    arrivals = packetModules(stages[..<first])
    departures = packetModules(stages[first...])
    isEditing = streamStages.contains { $0.contains { $0.description.access == .edit } }
  }

  /// All modules, in the order of their stages.
  public var modules: [AttachedModule] { stages.flatMap(\.self) }
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
  public let run: RunMode
  /// As it holds for the prototype.
  public let description: ModuleDescription

  /// Where a module does its work.
  public enum RunMode: String, Sendable, CaseIterable {
    /// On the thread of the packets; it must not wait for anything.
    case inline
    /// On a thread of its own for each connection; it may take its time.
    case thread
  }

  public init(
    id: UInt32, name: String, revision: Int = 0, run: RunMode = .inline, prototype: any ProcessingModule
  ) {
    self.id = id
    self.name = name
    self.revision = revision
    self.run = run
    self.prototype = prototype
    description = prototype.ownDescription
  }
}
