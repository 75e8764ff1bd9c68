import ModuleTesting

/// A response as a client reads it, by the letter of RFC 9112 section 6.3.
struct Message: Equatable {
  var head: String
  var body: [UInt8]
  /// The trailers and the empty line behind them; empty where there were no chunks.
  var trailers = ""
  /// Whether the stream ended before the message did.
  var isTruncated = false

  /// The responses in `stream`, which ends there.
  static func all(in stream: [UInt8]) -> [Message] {
    var messages: [Message] = []
    var rest = stream
    while !rest.isEmpty { messages.append(first(&rest)) }
    return messages
  }

  private static func first(_ rest: inout [UInt8]) -> Message {
    guard let end = rest.offset(of: Array("\r\n\r\n".utf8)) else {
      defer { rest = [] }
      return Message(head: rest.text, body: [], isTruncated: true)
    }
    var message = Message(head: Array(rest[..<(end + 4)]).text, body: [])
    rest.removeFirst(end + 4)
    let lines = message.head.lowercased().split(separator: "\r\n")
    if lines.contains("transfer-encoding: chunked") {
      while let line = takeLine(&rest) {
        guard let size = Int(line.prefix { $0.isHexDigit }, radix: 16) else { break }
        guard size > 0 else {
          while let line = takeLine(&rest) {
            message.trailers += line + "\r\n"
            if line.isEmpty { return message }
          }
          break
        }
        message.body += rest.prefix(size)
        rest.removeFirst(min(size, rest.count))
        guard takeLine(&rest) == "" else { break }
      }
      message.isTruncated = true
      rest = []
    } else if let length = lines.first(where: { $0.hasPrefix("content-length: ") }).flatMap({ Int($0.dropFirst(16)) }) {
      message.isTruncated = rest.count < length
      message.body = Array(rest.prefix(length))
      rest.removeFirst(min(length, rest.count))
    } else if !["1", "204", "304"].contains(where: { lines[0].hasPrefix("http/1.1 \($0)") }) {
      message.body = rest
      rest = []
    }
    return message
  }

  private static func takeLine(_ rest: inout [UInt8]) -> String? {
    guard let end = rest.offset(of: [0x0D, 0x0A]) else { return nil }
    defer { rest.removeFirst(end + 2) }
    return Array(rest[..<end]).text
  }
}

/// How a response says where its body ends.
enum Framing: CaseIterable {
  case length, chunks, connection

  /// A response with `page` as its body.
  func response(_ page: [UInt8], fields: String = "", _ random: inout SplitMix) -> [UInt8] {
    let head = "HTTP/1.1 200 OK\r\nServer: test\r\nContent-Type: text/html; charset=utf-8\r\n\(fields)"
    switch self {
    case .length: return Array((head + "Content-Length: \(page.count)\r\n\r\n").utf8) + page
    case .chunks: return Array((head + "Transfer-Encoding: chunked\r\n\r\n").utf8) + chunked(page, &random)
    case .connection: return Array((head + "Connection: close\r\n\r\n").utf8) + page
    }
  }

  /// Chunks of all sizes, with extensions and trailers now and then.
  private func chunked(_ page: [UInt8], _ random: inout SplitMix) -> [UInt8] {
    var result: [UInt8] = []
    var rest = page[...]
    while !rest.isEmpty {
      let size = min(rest.count, Int.random(in: 1...50, using: &random))
      let zeros = String(repeating: "0", count: Int.random(in: 0...2, using: &random))
      let name = Bool.random(using: &random) ? ";name=\"value\"" : ""
      result += Array((zeros + String(size, radix: 16, uppercase: true) + name + "\r\n").utf8)
      result += rest.prefix(size) + [0x0D, 0x0A]
      rest.removeFirst(size)
    }
    return result + Array((Bool.random(using: &random) ? "0\r\nX-Sum: 1\r\n\r\n" : "00;x\r\n\r\n").utf8)
  }
}
