import CHTTPParser
import Engine

/// Reads the messages of one direction of an HTTP/1 connection with http_parser, one after the other and in whatever
/// pieces they come. The one place that meets the C library.
///
/// The parser's state is plain memory that lies in this value and is copied with it; the library gets pointers to it
/// for the duration of a call only. Debian builds the library in its lenient form, so what that lets pass between the
/// chunks of a body is checked here (RFC 9112 section 7.1): wrong line ends there are how messages are smuggled.
@safe struct HTTPParser: @unchecked Sendable {
  enum Kind { case request, response }

  /// Why ``parse(_:from:origin:)`` came to a stop.
  enum Stop {
    /// Everything is parsed, and the message goes on.
    case needsMore
    /// Behind the empty line that ends a head; ``beginBody(skipping:)`` goes on.
    case headEnd
    /// Behind the line of the last chunk of a body, in front of the trailers.
    case lastChunk
    case messageEnd
    /// In front of what is not HTTP, or not in its strict form.
    case malformed
  }

  /// Where a header field stands. The name is followed by a colon, the value may have white space behind it.
  struct Field: Equatable {
    var name: Range<Int>
    var value: Range<Int>
  }

  private let kind: Kind
  private var parser = unsafe http_parser()
  private var record = Record()
  /// The framing octet that was last seen; nil for an octet of the body.
  private var lastFraming: UInt8? = UInt8(ascii: "\n")

  init(_ kind: Kind) {
    self.kind = kind
    restart()
  }

  /// Gets ready for the next message.
  mutating func restart() {
    unsafe http_parser_init(&parser, kind == .request ? HTTP_REQUEST : HTTP_RESPONSE)
    record = Record()
    lastFraming = UInt8(ascii: "\n")
  }

  // MARK: What is known at the end of the head

  /// The fields of the head as offsets from `origin`.
  var fields: [Field] { record.fields }
  var version: (major: UInt16, minor: UInt16) { unsafe (parser.http_major, parser.http_minor) }
  var status: Int { unsafe Int(parser.status_code) }
  var isHead: Bool { unsafe parser.method == HTTP_HEAD.rawValue }
  var isConnect: Bool { unsafe parser.method == HTTP_CONNECT.rawValue }
  var isChunked: Bool { unsafe parser.flags & F_CHUNKED.rawValue != 0 }
  /// The value of Content-Length; nil where there is none.
  var contentLength: UInt64? {
    unsafe parser.flags & F_CONTENTLENGTH.rawValue != 0 ? parser.content_length : nil
  }
  /// Whether the connection goes on behind this message.
  var keepsAlive: Bool { mutating get { unsafe http_should_keep_alive(&parser) != 0 } }

  // MARK: Parsing

  /// The pieces of the body that the last call of ``parse(_:from:origin:)`` came across, as positions of its window.
  var body: [Range<Int>] { record.body }

  /// Parses the window from `start` on, until something is worth a stop.
  ///
  /// - Parameter origin: the position of the message's first octet, where it is in the window.
  /// - Returns: why and where it stopped.
  mutating func parse(_ window: inout Window, from start: Int, origin: Int = 0) -> (stop: Stop, position: Int) {
    var position = start
    var stop = Stop.needsMore
    record.body.removeAll(keepingCapacity: true)
    record.origin = origin
    window.forEachSpan(in: start..<window.count) { span in
      let (begin, known) = (position, record.body.count)
      (stop, position) = execute(span, at: begin)
      if isChunked, !record.isInHead, let breach = breach(in: span, at: begin, upTo: position, piecesFrom: known) {
        (stop, position) = (.malformed, breach)
      }
      return stop == .needsMore
    }
    return (stop, position)
  }

  /// Goes on behind the head.
  ///
  /// - Parameter skipping: whether there is no body, whatever the fields say.
  /// - Returns: `.messageEnd` where there is none, `.needsMore` where one follows.
  mutating func beginBody(skipping: Bool) -> Stop {
    record.isInHead = false
    if skipping { unsafe parser.flags |= F_SKIPBODY.rawValue }
    let line: [UInt8] = [UInt8(ascii: "\n")]
    return execute(line.span, at: 0).stop
  }

  private mutating func execute(_ span: Span<UInt8>, at position: Int) -> (stop: Stop, position: Int) {
    record.stop = .needsMore
    var settings = makeSettings()
    let consumed = unsafe withUnsafeMutablePointer(to: &record) { record in
      unsafe span.withUnsafeBytes { bytes in
        let start = unsafe bytes.baseAddress!.assumingMemoryBound(to: CChar.self)
        unsafe record.pointee.shift = position - Int(bitPattern: start)
        unsafe parser.data = UnsafeMutableRawPointer(record)
        return unsafe http_parser_execute(&parser, &settings, start, bytes.count)
      }
    }
    unsafe parser.data = nil
    switch unsafe http_errno(parser.http_errno) {
    case HPE_OK:
      return (.needsMore, position + consumed)
    case HPE_PAUSED:
      unsafe http_parser_pause(&parser, 0)
      // At the end of a head the library stops one octet early.
      return (record.stop, position + consumed + (record.stop == .headEnd ? 1 : 0))
    default:
      return (.malformed, position + consumed)
    }
  }

  /// The position of the first octet of a chunked body's framing that the library should not have let pass: behind the
  /// data of a chunk stands CR LF, and nowhere does one of the two stand without the other.
  private mutating func breach(
    in span: Span<UInt8>, at begin: Int, upTo end: Int, piecesFrom known: Int
  ) -> Int? {
    var next = begin
    for index in known...record.body.count {
      let piece = index < record.body.count ? record.body[index] : end..<end
      for position in next..<piece.lowerBound {
        let octet = span[position - begin]
        let isRight =
          switch lastFraming {
          case nil: octet == UInt8(ascii: "\r")
          case UInt8(ascii: "\r"): octet == UInt8(ascii: "\n")
          default: octet != UInt8(ascii: "\n")
          }
        guard isRight else {
          record.body.removeSubrange(index...)
          return position
        }
        lastFraming = octet
      }
      if !piece.isEmpty { lastFraming = nil }
      next = piece.upperBound
    }
    return nil
  }
}

/// What the callbacks note down.
private struct Record {
  var stop = HTTPParser.Stop.needsMore
  var fields: [HTTPParser.Field] = []
  var body: [Range<Int>] = []
  /// What added to an address makes a position.
  var shift = 0
  /// The position that the fields count from.
  var origin = 0
  /// Whether the head has not ended. Fields behind it are trailers, of which nothing is noted.
  var isInHead = true
  /// Whether the last field has only its name so far.
  private var isNameOpen = false

  func positions(_ at: UnsafePointer<CChar>?, _ count: Int) -> Range<Int> {
    let start = Int(bitPattern: at) + shift
    return start..<start + count
  }

  func offsets(_ at: UnsafePointer<CChar>?, _ count: Int) -> Range<Int> {
    let place = unsafe positions(at, count)
    return place.lowerBound - origin..<place.upperBound - origin
  }

  mutating func addName(_ place: Range<Int>) {
    guard isInHead else { return }
    if isNameOpen, let last = fields.indices.last {
      fields[last].name = fields[last].name.lowerBound..<place.upperBound
    } else {
      fields.append(HTTPParser.Field(name: place, value: place.upperBound..<place.upperBound))
      isNameOpen = true
    }
  }

  mutating func addValue(_ place: Range<Int>) {
    guard isInHead, let last = fields.indices.last, !place.isEmpty || !isNameOpen else {
      isNameOpen = false
      return
    }
    let start = isNameOpen ? place.lowerBound : fields[last].value.lowerBound
    fields[last].value = start..<place.upperBound
    isNameOpen = false
  }
}

/// What the library calls back.
private func makeSettings() -> http_parser_settings {
  var settings = http_parser_settings()
  unsafe settings.on_header_field = { parser, at, count in
    unsafe note(parser) { unsafe $0.addName($0.offsets(at, count)) }
  }
  unsafe settings.on_header_value = { parser, at, count in
    unsafe note(parser) { unsafe $0.addValue($0.offsets(at, count)) }
  }
  unsafe settings.on_body = { parser, at, count in
    unsafe note(parser) { unsafe $0.body.append($0.positions(at, count)) }
  }
  unsafe settings.on_headers_complete = { parser in unsafe pause(parser, .headEnd) }
  unsafe settings.on_message_complete = { parser in unsafe pause(parser, .messageEnd) }
  unsafe settings.on_chunk_header = { parser in
    unsafe parser!.pointee.content_length == 0 ? pause(parser, .lastChunk) : 0
  }
  return settings
}

private func note(_ parser: UnsafeMutablePointer<http_parser>?, _ body: (inout Record) -> Void) -> Int32 {
  unsafe body(&parser!.pointee.data.assumingMemoryBound(to: Record.self).pointee)
  return 0
}

private func pause(_ parser: UnsafeMutablePointer<http_parser>?, _ stop: HTTPParser.Stop) -> Int32 {
  unsafe http_parser_pause(parser, 1)
  return unsafe note(parser) { $0.stop = stop }
}
