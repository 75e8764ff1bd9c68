import Engine

/// The direction of the requests: keeps what the responses need to know of them, and asks for pages without
/// compression.
///
/// Its bytes may be joined at any point. Until a window begins with a request nothing is touched; from then on the
/// requests are followed one by one, for as long as they are well-formed.
struct HTTPRequests {
  /// What decides how the response to a request is to be read (RFC 9112 section 6.3).
  struct Outstanding {
    let isHead: Bool
    let isConnect: Bool
    /// Whether the client may not know chunks.
    let isBelow11: Bool
  }

  private enum State {
    /// In front of a head, or in it: so many octets are parsed and held.
    case head(parsed: Int)
    case body
    /// Not followed any more.
    case passing
  }

  /// Requests without a response that are kept; a client that sends more is not followed any further.
  static let most = 256

  private var state = State.head(parsed: 0)
  private var parser = HTTPParser(.request)
  /// The requests without a response, oldest first.
  private(set) var outstanding: [Outstanding] = []
  /// Whether a request has been seen.
  private(set) var isInStep = false
  /// Whether something else has been seen, and no request.
  private(set) var isStray = false
  /// Whether nothing is followed any more.
  var isOver: Bool {
    if case .passing = state { return true }
    return false
  }

  /// Takes note that the final response to the oldest request has come.
  mutating func answered() { outstanding.removeFirst() }

  /// Lets everything pass from now on.
  mutating func giveUp() { state = .passing }

  mutating func process(_ window: inout Window) {
    var done = 0
    while done < window.count, let next = step(&window, from: done) { done = next }
    window.release(upTo: done)
  }

  /// Gets as far as the end of a head or a message. Returns up to where the window is done, or nil to wait for more.
  private mutating func step(_ window: inout Window, from start: Int) -> Int? {
    switch state {
    case .passing:
      return window.count
    case .head(let parsed):
      let (stop, position) = parser.parse(&window, from: start + parsed, origin: start)
      if stop == .headEnd, let end = begin(&window, start..<position) { return end }
      if stop == .needsMore, position - start < HTTPHead.largest, !window.mustRelease {
        state = .head(parsed: position - start)
        return nil
      }
      // Not a request. Where none has been seen yet, this is the middle of something, and one may come behind it.
      if isInStep {
        giveUp()
      } else {
        self = HTTPRequests()
        isStray = true
      }
      return window.count
    case .body:
      let (stop, position) = parser.parse(&window, from: start)
      if stop == .messageEnd { expectHead() }
      if stop == .malformed { giveUp() }
      return position
    }
  }

  private mutating func expectHead() {
    parser.restart()
    state = .head(parsed: 0)
  }

  /// Edits the head at `place`. Returns where it ends then; nil where it makes no sense.
  private mutating func begin(_ window: inout Window, _ place: Range<Int>) -> Int? {
    let head = HTTPHead(octets: window.copy(place), fields: parser.fields)
    guard head.isPlain, place.count <= HTTPHead.largest, parser.version.major == 1, outstanding.count < Self.most
    else { return nil }
    outstanding.append(
      Outstanding(isHead: parser.isHead, isConnect: parser.isConnect, isBelow11: parser.version.minor < 1))
    isInStep = true
    isStray = false
    state = .body
    if parser.beginBody(skipping: false) == .messageEnd { expectHead() }
    let count = window.count
    if head.value("accept-encoding") != "identity" { refuseEncodings(&window, head, at: place.lowerBound) }
    return place.upperBound + window.count - count
  }

  private func refuseEncodings(_ window: inout Window, _ head: HTTPHead, at start: Int) {
    window.insert("Accept-Encoding: identity\r\n", at: start + head.octets.count - 2)
    for field in head.all("accept-encoding").reversed() {
      let line = head.line(of: field)
      window.remove(start + line.lowerBound..<start + line.upperBound)
    }
  }
}
