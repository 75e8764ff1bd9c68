/// The fuzzer's input, read as the choices of a script.
struct Tape {
  private let bytes: [UInt8]
  private var at = 0

  init(_ input: UnsafeBufferPointer<UInt8>) { bytes = Array(input) }

  var isAtEnd: Bool { at >= bytes.count }

  mutating func byte() -> UInt8 {
    guard at < bytes.count else { return 0 }
    at += 1
    return bytes[at - 1]
  }

  mutating func choice(_ count: Int) -> Int { Int(byte()) % count }

  mutating func flag() -> Bool { byte() & 1 == 1 }

  mutating func number(_ octets: Int) -> Int {
    var number = 0
    for _ in 0..<octets { number = number << 8 | Int(byte()) }
    return number
  }
}
