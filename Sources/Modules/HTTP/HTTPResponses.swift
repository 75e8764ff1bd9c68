import Engine

/// The direction of the responses: leads the bodies that the editor wants to it, and frames what it makes of them.
///
/// A body whose length was announced is sent in chunks, for its length is not known before its end (RFC 9112
/// section 7.1); one in chunks gets new ones; one that ends with the connection is edited in place.
struct HTTPResponses<Editor: BodyEditor> {
  private enum State {
    /// In front of a head, or in it: so many octets are parsed and held.
    case head(parsed: Int)
    /// In a body that passes, or in trailers.
    case body
    /// In a body that is edited: so many octets of it, freed of their framing, are held by the editor.
    case edited(held: Int, isChunked: Bool)
    /// Not followed any more.
    case passing
  }

  private var state = State.head(parsed: 0)
  private var parser = HTTPParser(.response)
  private var prototype: Editor
  private var editor: Editor
  private var isRetiring = false
  /// Whether all of the connection is seen.
  var isWhole = false
  /// Whether a window has begun like a response.
  private var isSpoken = false

  init(_ prototype: Editor) {
    self.prototype = prototype
    editor = prototype
  }

  mutating func adopt(_ other: Self) {
    prototype = other.prototype
    editor.adopt(prototype)
  }

  /// Whether nothing is followed any more.
  var isOver: Bool {
    if case .passing = state { return true }
    return false
  }

  /// Stops editing. Returns whether nothing is left to do: not so within a body that is sent in chunks of ours.
  mutating func retire() -> Bool {
    isRetiring = true
    if case .edited(_, isChunked: true) = state { return false }
    state = .passing
    return true
  }

  mutating func process(_ window: inout Window, _ requests: inout HTTPRequests) {
    var done = 0
    while done < window.count, let next = step(&window, from: done, &requests) { done = next }
    window.release(upTo: done)
  }

  /// Gets as far as the end of a head, a body or a message. Returns up to where the window is done, or nil where that
  /// is all for now, with what is done released.
  private mutating func step(_ window: inout Window, from start: Int, _ requests: inout HTTPRequests) -> Int? {
    switch state {
    case .passing:
      return window.count
    case .head(let parsed):
      guard let request = requests.outstanding.first else {
        // The end of what was asked for before the first request seen here, or what nobody has asked for. Where neither end
        // begins with HTTP, there is none to wait for.
        isSpoken = isSpoken || isSpeaking(&window, from: start)
        if requests.isInStep || (isWhole && requests.isStray && !isSpoken) { giveUp(&requests) }
        return window.count
      }
      let (stop, position) = parser.parse(&window, from: start + parsed, origin: start)
      if stop == .headEnd, let end = begin(&window, start..<position, request, &requests) { return end }
      if stop == .needsMore, position - start < HTTPHead.largest, !window.mustRelease {
        state = .head(parsed: position - start)
        return nil
      }
      giveUp(&requests)
      return window.count
    case .body:
      let (stop, position) = parser.parse(&window, from: start)
      if stop == .messageEnd { end(&requests) }
      if stop == .malformed { giveUp(&requests) }
      return position
    case .edited(let held, let isChunked):
      return edit(&window, from: start, held: held, isChunked: isChunked, &requests)
    }
  }

  /// Whether what begins at `start` may be a response.
  private func isSpeaking(_ window: inout Window, from start: Int) -> Bool {
    let name = Array("HTTP/".utf8)
    let count = min(name.count, window.count - start)
    return window.copy(start..<start + count) == Array(name[..<count])
  }

  private mutating func giveUp(_ requests: inout HTTPRequests) {
    state = .passing
    requests.giveUp()
  }

  /// Ends the message.
  private mutating func end(_ requests: inout HTTPRequests) {
    if parser.status / 100 != 1 { requests.answered() }
    parser.restart()
    state = isRetiring ? .passing : .head(parsed: 0)
  }

  // MARK: Heads

  /// Decides what becomes of the message whose head stands at `place`. Returns where the head ends after its edits; nil
  /// where it makes no sense.
  private mutating func begin(
    _ window: inout Window, _ place: Range<Int>, _ request: HTTPRequests.Outstanding, _ requests: inout HTTPRequests
  ) -> Int? {
    let head = HTTPHead(octets: window.copy(place), fields: parser.fields)
    guard head.isPlain, place.count <= HTTPHead.largest, parser.version.major == 1 else { return nil }
    if let coding = head.value("transfer-encoding") {
      guard coding == "chunked", parser.version.minor >= 1, !request.isBelow11 else { return nil }
    }
    let status = parser.status
    let isInterim = status / 100 == 1
    if !isInterim { window.count(Editor.counters.count) }
    if status == 101 || request.isConnect && status / 100 == 2 {
      // What follows is not HTTP.
      giveUp(&requests)
      return place.upperBound
    }
    let length = parser.contentLength
    let isBodiless = request.isHead || isInterim || status == 204 || status == 304 || length == 0
    // A range of a page cannot be edited like the page; a client of HTTP/1.0 may not know chunks.
    let isEdited = !isBodiless && status != 206 && !(length != nil && request.isBelow11) && wants(head)
    let count = window.count
    if isEdited {
      editor = prototype
      state = .edited(held: 0, isChunked: length != nil || parser.isChunked)
      if length != nil { rewrite(&window, head, at: place.lowerBound) }
    } else {
      state = .body
      if !isInterim { window.count(Editor.counters.count + 1) }
    }
    if parser.beginBody(skipping: isBodiless) == .messageEnd { end(&requests) }
    return place.upperBound + window.count - count
  }

  /// Whether the body is of a type for the editor, and not compressed.
  private func wants(_ head: HTTPHead) -> Bool {
    guard let type = head.value("content-type") else { return false }
    let name = type.utf8.prefix { ![UInt8(ascii: ";"), UInt8(ascii: " "), UInt8(ascii: "\t")].contains($0) }
    return Editor.mediaTypes.contains { $0.utf8.elementsEqual(name) }
      && ["identity", ""].contains(head.value("content-encoding") ?? "")
  }

  /// Announces chunks instead of a length. HTTP/1.0 knows none: such a response goes on as HTTP/1.1, as every
  /// intermediary sends its own version (RFC 9112 section 2.3), with the end of the connection said in words.
  private mutating func rewrite(_ window: inout Window, _ head: HTTPHead, at start: Int) {
    var line = "Transfer-Encoding: chunked\r\n"
    if parser.version.minor < 1, let version = window.find("HTTP/1.0", in: start..<start + head.octets.count) {
      window.replace(version..<version + 8, with: Array("HTTP/1.1".utf8))
      if !parser.keepsAlive { line += "Connection: close\r\n" }
    }
    for field in head.all("content-length") {
      let place = head.line(of: field)
      window.replace(start + place.lowerBound..<start + place.upperBound, with: Array(line.utf8))
    }
  }

  // MARK: Bodies

  /// Lets the editor work on what has come of a body, of which it holds the first `held` octets. Returns as ``step``.
  private mutating func edit(
    _ window: inout Window, from start: Int, held: Int, isChunked: Bool, _ requests: inout HTTPRequests
  ) -> Int? {
    let (stop, position) = parser.parse(&window, from: start + held)
    let end = unframe(&window, from: start + held, to: position)
    let isEnd = stop == .lastChunk || stop == .messageEnd
    let mustRelease = window.mustRelease || stop != .needsMore || isRetiring
    var part = (released: end - start, count: end - start)
    if !isRetiring {
      part = window.narrowed(to: start..<end, mustRelease: mustRelease) { editor.edit(&$0) }
    }
    if mustRelease { part.released = part.count }
    var done = start + part.released
    if isChunked { done += frame(&window, start..<done, stop) }
    switch stop {
    case .needsMore:
      state = .edited(held: part.count - part.released, isChunked: isChunked)
    case .lastChunk:
      state = .body
    case .messageEnd:
      self.end(&requests)
    case .malformed, .headEnd:
      giveUp(&requests)
    }
    window.release(upTo: done)
    return isEnd || stop == .malformed ? done : nil
  }

  /// Removes everything from `start` to `end` that is not of the body. Returns where the body ends then.
  private func unframe(_ window: inout Window, from start: Int, to end: Int) -> Int {
    var body = start
    var removed = 0
    for piece in parser.body {
      let framing = piece.lowerBound - removed - body
      window.remove(body..<body + framing)
      removed += framing
      body += piece.count
    }
    window.remove(body..<end - removed)
    return body
  }

  /// Puts the framing of a chunk around `chunk`, and the last chunk behind it where the body ends. Trailers come in the
  /// stream. Returns how many octets that takes.
  private func frame(_ window: inout Window, _ chunk: Range<Int>, _ stop: HTTPParser.Stop) -> Int {
    var head = ""
    var tail = ""
    if !chunk.isEmpty {
      head = String(chunk.count, radix: 16) + "\r\n"
      tail = "\r\n"
    }
    if stop == .lastChunk { tail += "0\r\n" }
    if stop == .messageEnd { tail += "0\r\n\r\n" }
    window.insert(tail, at: chunk.upperBound)
    window.insert(head, at: chunk.lowerBound)
    return head.utf8.count + tail.utf8.count
  }
}
