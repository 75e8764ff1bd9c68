/// What a module has asked for in one call, beside edits and releases.
struct ModuleRequests: Sendable {
  /// What is to become of the connection, or of the packet or datagram that the window shows.
  enum Fate: Sendable {
    case drop, reset
  }

  var fate: Fate?
  /// Whether the module has no more interest in the connection.
  var isOffloading = false
  /// After what time it wants to be called again.
  var wake: Nanoseconds?
  var events: [ModuleEvent.Content] = []
  /// What it has done that it may not do; the first of it counts.
  private(set) var fault: String?

  /// Events of one call; more are dropped.
  static var eventLimit: Int { 64 }

  var isEmpty: Bool { fate == nil && !isOffloading && wake == nil && events.isEmpty && fault == nil }

  /// Forgets what has been passed on; a fault and a fate stay.
  mutating func renew() {
    wake = nil
    events = []
  }

  mutating func fail(_ reason: String) {
    if fault == nil { fault = reason }
  }

  /// Tells whoever listens of something.
  mutating func emit(_ name: String, _ fields: [String: String]) {
    guard events.count < Self.eventLimit else { return }
    events.append(ModuleEvent.Content(name, fields))
  }

  /// Adds to the counter that stands at `index` of `own`, where there is one.
  mutating func count(_ index: Int, by amount: Int, in own: UnsafeMutableBufferPointer<UInt64>) {
    guard own.indices.contains(index) else {
      fail("it has no counter number \(index)")
      return
    }
    unsafe own[index] &+= UInt64(truncatingIfNeeded: amount)
  }
}

/// Something that a module tells whoever listens: `flowctl monitor` shows it.
public struct ModuleEvent: Sendable {
  /// Its name and what belongs to it.
  public struct Content: Sendable, Equatable {
    public let name: String
    public let fields: [String: String]

    public init(_ name: String, _ fields: [String: String] = [:]) {
      self.name = name
      self.fields = fields
    }
  }

  /// The name of the event that tells, once for each attached module, that it is not shown what it is attached to.
  public static let skipped = "skipped"

  public let time: Instant
  /// ``AttachedModule/id``
  public let module: UInt32
  /// ``ConnectionInfo/id``; 0 where there is no connection.
  public let connection: UInt64
  public let content: Content
}
