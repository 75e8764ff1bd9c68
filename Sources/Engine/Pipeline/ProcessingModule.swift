/// A processing module (PM): the work done on the bytes of a flow.
///
/// A module is a value. The one made at `pm attach` is the prototype; every connection gets its own copy, so stored
/// properties are the state of that connection, and nothing is shared but what a module shares by itself. ``process(_:)``
/// is called with a ``Window`` on the bytes that stand between the module's head and its tail whenever there are new ones,
/// at the end of the stream, when bytes have been held for too long, and when a time that it asked for has come. It looks,
/// edits, and releases. It never meets a lock or a sequence number, and packets only where it asks for them.
///
///     struct Shout: ProcessingModule {
///       static let description = ModuleDescription(kind: "shout", access: .edit, help: "Doubles every '!'.")
///       init(_ arguments: Arguments) {}
///       mutating func process(_ window: inout Window) {
///         var at = 0
///         while let found = window.find("!", from: at) {
///           window.insert("!", at: found)
///           at = found + 2
///         }
///         window.releaseAll()
///       }
///     }
///
/// A module that throws, that does what it may not, or that holds more than it may has failed: it is taken out of the
/// connection, and `--on-fail` of its flow says what becomes of that one.
public protocol ProcessingModule: Sendable {
  /// What the module is, as `flowctl pm types` tells it.
  static var description: ModuleDescription { get }

  /// Makes the prototype. Runs on the control thread, may read files, and may refuse its arguments.
  init(_ arguments: Arguments) throws(ArgumentError)

  /// Whether this one only looks, where its kind may edit: by its arguments. That of the description where a module does not
  /// say otherwise.
  var access: ModuleDescription.Access { get }

  /// The version of IP, 4 or 6, of whose packets alone it can make something, by its arguments; nil for both, also where a module
  /// does not say otherwise.
  var ipVersion: Int? { get }

  /// Works on the direction of the flow that the module is attached to.
  mutating func process(_ window: inout Window) throws

  /// Works on the peer direction; called only where ``ModuleDescription/peer`` is set.
  mutating func processPeer(_ window: inout Window) throws

  /// The same work written like a program that reads from a socket, for `--run thread`: ``Window/read()`` waits for more
  /// bytes and answers false at the end. Where a module does not say otherwise, each read is given to ``process(_:)``.
  mutating func run(_ window: inout Window) throws

  /// Tells that the connection has changed; `report` takes what is to be counted and told of that. Where it has closed, the
  /// module has been shown all that it gets; behind a reset more may come, for that need not have arrived.
  ///
  /// One that is written as ``run(_:)`` is told how it has come to the connection, and no more: its ``Window/read()`` answers
  /// false at the end, and it may count and tell until it returns.
  mutating func connection(_ change: ConnectionChange, _ report: inout Report)

  /// The same, for a module that only takes note of it.
  mutating func connection(_ change: ConnectionChange)

  /// How long bytes may be held before they must be released; that of the description where a module does not say
  /// otherwise.
  var holdTime: Nanoseconds { get }

  /// Takes over the parameters of `prototype` on a connection that already runs (`pm set`), keeping what state it can.
  mutating func adopt(_ prototype: Self)

  /// Asks the module to come to an end on this connection (`pm detach`). Called at once, and again after each
  /// ``process(_:)``, until it answers true; from then on the module is gone. A module answers false only while the edits
  /// it has made oblige it to make more, as inside a message whose framing it has rewritten.
  mutating func retire() -> Bool
}

extension ProcessingModule {
  public var access: ModuleDescription.Access { Self.description.access }
  public var ipVersion: Int? { nil }
  public var holdTime: Nanoseconds { Self.description.holdTime }
  public mutating func process(_ window: inout Window) throws { window.releaseAll() }
  public mutating func processPeer(_ window: inout Window) throws { window.releaseAll() }
  public mutating func run(_ window: inout Window) throws { while window.read() { try process(&window) } }
  public mutating func connection(_ change: ConnectionChange, _ report: inout Report) { connection(change) }
  public mutating func connection(_ change: ConnectionChange) {}
  public mutating func adopt(_ prototype: Self) { self = prototype }
  public mutating func retire() -> Bool { true }
}

extension ProcessingModule {
  /// ``description`` as it holds for this one.
  public var ownDescription: ModuleDescription {
    ModuleDescription(Self.description, access: access)
  }
}

/// What happens to a connection beside its bytes.
public enum ConnectionChange: Sendable, Equatable {
  /// It opens, and the module sees all of it from the first octet on.
  case opened
  /// The module has come to a connection that runs.
  case joined
  /// One end has sent its last octet in this direction.
  case halfClosed(ConnectionIdentity.Direction)
  /// Both ends have.
  case closed
  /// An end, or a module, has cut it off.
  case reset
}

/// What a processing module is and asks for.
public struct ModuleDescription: Sendable {
  /// Which bytes of a packet the module works on.
  public enum Layer: String, Sendable, CaseIterable {
    /// All bytes of the packets of a flow, headers included; one instance for the flow, a window for each packet.
    case ip
    /// The IP payload, the transport header included; one instance for each connection, a window for each packet.
    case tcp
    /// The payload of the transport: of TCP as one byte stream, of UDP datagram by datagram.
    case app
  }

  /// Whether the module only looks, or also changes bytes.
  public enum Access: String, Sendable, CaseIterable {
    case read, edit
  }

  /// The word that names the module in `pm attach FLOW KIND`.
  public var kind: String { shared.kind }
  public var layer: Layer { shared.layer }
  public let access: Access
  /// Whether the module also works on the peer direction of its connections, see ``ProcessingModule/processPeer(_:)``.
  public var peer: Bool { shared.peer }
  /// Whether the module is written as ``ProcessingModule/run(_:)`` alone and so needs a thread.
  public var needsThread: Bool { shared.needsThread }
  public var parameters: [Parameter] { shared.parameters }
  /// Names of what the module counts, in the order of ``Window/count(_:by:)``'s index.
  public var counters: [String] { shared.counters }
  /// How long bytes may be held before they must be released.
  public var holdTime: Nanoseconds { shared.holdTime }
  /// How many octets may be held before they must be released.
  public var holdLimit: Int { shared.holdLimit }
  /// Whether the module holds bytes to release them at times of its own. The end of the stream then waits until it has
  /// released all, ``Window/mustRelease`` is not set for it, and the source is slowed down to that pace by its window.
  public var paces: Bool { shared.paces }
  /// One sentence for `flowctl pm types`.
  public var help: String { shared.help }

  /// What all copies have in common: every module at work on a connection has one.
  private let shared: Shared

  private final class Shared: Sendable {
    let kind: String
    let layer: Layer
    let peer: Bool
    let needsThread: Bool
    let parameters: [Parameter]
    let counters: [String]
    let holdTime: Nanoseconds
    let holdLimit: Int
    let paces: Bool
    let help: String

    init(
      kind: String, layer: Layer, peer: Bool, needsThread: Bool, parameters: [Parameter], counters: [String],
      holdTime: Nanoseconds, holdLimit: Int, paces: Bool, help: String
    ) {
      self.kind = kind
      self.layer = layer
      self.peer = peer
      self.needsThread = needsThread
      self.parameters = parameters
      self.counters = counters
      self.holdTime = holdTime
      self.holdLimit = holdLimit
      self.paces = paces
      self.help = help
    }
  }

  public init(
    kind: String, layer: Layer = .app, access: Access, peer: Bool = false, needsThread: Bool = false,
    parameters: [Parameter] = [], counters: [String] = [], holdTime: Nanoseconds = .milliseconds(200),
    holdLimit: Int = 65_536, paces: Bool = false, help: String
  ) {
    self.access = access
    shared = Shared(
      kind: kind, layer: layer, peer: peer, needsThread: needsThread, parameters: parameters, counters: counters,
      holdTime: holdTime, holdLimit: holdLimit, paces: paces, help: help)
  }

  /// The same with another access.
  fileprivate init(_ description: ModuleDescription, access: Access) {
    self.access = access
    shared = description.shared
  }
}
