import Engine

/// Clips advertisements out of the HTML pages of HTTP/1.1 responses.
///
/// Attached to the direction of the responses. ``HTTPBody`` finds the pages and keeps the framing right,
/// ``ScriptClipper`` does the clipping.
public struct AdBlock: ProcessingModule {
  public static let description = ModuleDescription(
    kind: "adblock", access: .edit, peer: true,
    parameters: [Parameter("list", .path, default: "", help: "file of patterns; empty for the ad scripts of Google")],
    counters: HTTPBody<ScriptClipper>.counters,
    // A lost packet in the middle of a head comes again within that time, after its first or second timeout.
    holdTime: .milliseconds(1_000), holdLimit: HTTPBody<ScriptClipper>.holdLimit,
    help: "Clips script elements whose tag matches a list of ads out of HTML pages.")

  private var http: HTTPBody<ScriptClipper>

  public init(_ arguments: Arguments) throws(ArgumentError) {
    let path = arguments.text("list")
    self.init(path.isEmpty ? ScriptClipper.google : try PatternList.read(path))
  }

  /// - Parameter ads: what the tags of ads contain.
  init(_ ads: [Pattern]) { http = HTTPBody(ScriptClipper(ads)) }

  public mutating func process(_ window: inout Window) { http.process(&window) }
  public mutating func processPeer(_ window: inout Window) { http.processPeer(&window) }
  public mutating func connection(_ change: ConnectionChange) { http.connection(change) }
  public mutating func adopt(_ prototype: Self) { http.adopt(prototype.http) }
  public mutating func retire() -> Bool { http.retire() }
}
