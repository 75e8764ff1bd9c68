/// What a module counts and tells where it is shown no bytes: of a change of its connection.
@safe public struct Report: ~Copyable {
  /// The connection, in the direction that the module is attached to.
  public let connection: ConnectionIdentity
  /// The time, in nanoseconds since an origin of its own.
  public let now: Instant
  /// Where the module's own counters lie.
  private let own: UnsafeMutableBufferPointer<UInt64>
  private(set) var requests = ModuleRequests()

  init(_ connection: ConnectionIdentity, own: UnsafeMutableBufferPointer<UInt64>, now: Instant) {
    self.connection = connection
    self.now = now
    unsafe self.own = own
  }

  /// Adds to the counter that stands at `index` in ``ModuleDescription/counters``.
  public mutating func count(_ index: Int, by amount: Int = 1) {
    unsafe requests.count(index, by: amount, in: own)
  }

  /// Tells whoever listens (`flowctl monitor`) of something; up to 64 in one report.
  public mutating func emit(_ name: String, _ fields: [String: String] = [:]) { requests.emit(name, fields) }
}
