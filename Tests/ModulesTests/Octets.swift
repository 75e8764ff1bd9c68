extension [UInt8] {
  /// Offset of the first `needle` at or behind `start`, looked for in the plainest way.
  func offset(of needle: [UInt8], from start: Int = 0) -> Int? {
    var at = start
    while let first = self[at...].firstIndex(of: needle[0]), first + needle.count <= count {
      if self[first..<first + needle.count] == needle[...] { return first }
      at = first + 1
    }
    return nil
  }

  var text: String { String(decoding: self, as: UTF8.self) }
}
