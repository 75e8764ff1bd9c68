import Engine
import Glibc

/// A text file of patterns: one a line, `#` starts a comment line, blank lines and white space around a pattern count
/// for nothing.
enum PatternList {
  /// Octets of the file.
  static let largest = 65_536
  /// Patterns in the file.
  static let most = 1_024
  /// Octets of one pattern.
  static let longest = 256

  /// The patterns of the file at `path`; they ignore case.
  ///
  /// - Throws: an error that names the file, and the line where it is at fault.
  static func read(_ path: String) throws(ArgumentError) -> [Pattern] {
    func refusal(_ reason: String) -> ArgumentError { ArgumentError("list '\(path)' \(reason)") }
    var patterns: [Pattern] = []
    let lines = try contents(path, refusal).split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    for (index, line) in lines.enumerated() {
      let pattern = trimmed(line)
      guard let first = pattern.first, first != UInt8(ascii: "#") else { continue }
      guard pattern.count <= longest else {
        throw refusal("line \(index + 1): the pattern has \(pattern.count) octets, more than \(longest)")
      }
      guard !pattern.contains(UInt8(ascii: ">")) else {
        throw refusal("line \(index + 1): a pattern with '>' never matches, for a tag ends there")
      }
      patterns.append(Pattern(pattern, ignoringCase: true))
    }
    guard !patterns.isEmpty else { throw refusal("has no pattern in it; put one on a line, as in: doubleclick") }
    guard patterns.count <= most else { throw refusal("has \(patterns.count) patterns, more than \(most)") }
    return patterns
  }

  private static func trimmed(_ line: ArraySlice<UInt8>) -> [UInt8] {
    let isBlank: (UInt8) -> Bool = { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }
    guard let first = line.firstIndex(where: { !isBlank($0) }), let last = line.lastIndex(where: { !isBlank($0) })
    else { return [] }
    return Array(line[first...last])
  }

  private static func contents(
    _ path: String, _ refusal: (String) -> ArgumentError
  ) throws(ArgumentError) -> [UInt8] {
    func failure() -> ArgumentError {
      let reason = unsafe String(cString: strerror(errno))
      return refusal("cannot be read: \(reason)")
    }
    // Without blocking, should somebody name a pipe.
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard file >= 0 else { throw failure() }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: largest + 1)
    var count = 0
    while count < bytes.count {
      let got = unsafe bytes.withUnsafeMutableBytes { buffer in
        unsafe Glibc.read(file, buffer.baseAddress! + count, buffer.count - count)
      }
      guard got >= 0 else { throw failure() }
      guard got > 0 else { break }
      count += got
    }
    guard count <= largest else { throw refusal("has more than \(largest) octets") }
    return Array(bytes[..<count])
  }
}
