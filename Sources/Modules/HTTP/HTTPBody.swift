import Engine

/// Puts a ``BodyEditor`` to work on the bodies of HTTP/1.1 responses.
///
/// For a module that is attached to the direction of the responses, with `peer: true`: it hands both of its windows on
/// to here. Requests are made to ask for pages without compression; the responses that the editor wants are led to it
/// and framed anew; everything else passes as it is. What cannot be read in one way only passes as it is too, and with
/// it the rest of the connection.
public struct HTTPBody<Editor: BodyEditor>: Sendable {
  /// Names of the counters of a module around this: the editor's, how many responses there were, and how many of them
  /// were not the editor's.
  public static var counters: [String] { Editor.counters + ["responses", "passed"] }

  /// Octets that a module around this must be allowed to hold: a head of the largest size.
  public static var holdLimit: Int { HTTPHead.largest }

  private var requests = HTTPRequests()
  private var responses: HTTPResponses<Editor>

  /// - Parameter editor: the prototype; every body gets its own copy.
  public init(_ editor: Editor) { responses = HTTPResponses(editor) }

  /// Works on the responses.
  public mutating func process(_ window: inout Window) {
    responses.process(&window, &requests)
    leave(&window)
  }

  /// Works on the requests.
  public mutating func processPeer(_ window: inout Window) {
    requests.process(&window)
    leave(&window)
  }

  /// Takes note of how the module has come to the connection: of one that it sees all of, it knows when that is not HTTP.
  public mutating func connection(_ change: ConnectionChange) { if change == .opened { responses.isWhole = true } }

  /// Has no more to do with a connection of which neither direction is followed any more.
  private func leave(_ window: inout Window) {
    if requests.isOver, responses.isOver { window.offload() }
  }

  /// Takes over the editor of `prototype`, also within a body.
  public mutating func adopt(_ prototype: Self) { responses.adopt(prototype.responses) }

  /// Stops editing at once, and answers true where no body is being framed.
  public mutating func retire() -> Bool {
    requests.giveUp()
    return responses.retire()
  }
}
