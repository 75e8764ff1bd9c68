import SystemPackage

/// Small files of the kernel under `/proc`.
enum ProcFile {
  /// The whole file as text.
  static func read(_ path: String) throws -> String {
    let file = try FileDescriptor.open(FilePath(path), .readOnly, options: .closeOnExec)
    return try file.closeAfter {
      var bytes: [UInt8] = []
      var chunk = [UInt8](repeating: 0, count: 4096)
      while true {
        let count = try unsafe chunk.withUnsafeMutableBytes { try unsafe file.read(into: $0) }
        if count == 0 { return String(decoding: bytes, as: UTF8.self) }
        bytes += chunk[..<count]
      }
    }
  }

  /// Writes `text` in one call, as the kernel wants it.
  static func write(_ text: String, to path: String) throws {
    let file = try FileDescriptor.open(FilePath(path), .writeOnly, options: .closeOnExec)
    _ = try file.closeAfter { try file.writeAll(text.utf8) }
  }
}
