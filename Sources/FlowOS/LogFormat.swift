import ArgumentParser
import Control
import FoundationEssentials
import Glibc
import Logging

// Neither package will do it: they do not know each other.
// swift-format-ignore: AvoidRetroactiveConformances
extension Logger.Level: @retroactive ExpressibleByArgument {}

/// How log lines look.
enum LogFormat: String, ExpressibleByArgument {
  /// For people and journals: time, level, message, key=value.
  case text
  /// One object a line.
  case json

  static func logger(_ format: LogFormat, _ level: Logger.Level) -> Logger {
    var logger = Logger(label: "flowos") { _ in LineHandler(format: format) }
    logger.logLevel = level
    return logger
  }
}

/// Writes one line to the standard error for each message.
private struct LineHandler: LogHandler {
  let format: LogFormat
  var logLevel = Logger.Level.info
  var metadata: Logger.Metadata = [:]

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let pairs = metadata.merging(event.metadata ?? [:]) { $1 }.sorted { $0.key < $1.key }
    let line: [UInt8]
    switch format {
    case .text:
      let words = ["\(Self.time) \(event.level): \(event.message)"] + pairs.map { "\($0.key)=\($0.value)" }
      line = Array(words.joined(separator: " ").utf8)
    case .json:
      var object = ["time": Self.time, "level": "\(event.level)", "message": "\(event.message)"]
      for (key, value) in pairs { object[key] = "\(value)" }
      line = (try? JSON.encode(object)) ?? []
    }
    _ = unsafe (line + [0x0A]).withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }

  /// The time of day in UTC, as RFC 3339 writes it.
  private static var time: String { Date.now.formatted(.iso8601) }
}
