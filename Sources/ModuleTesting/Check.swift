import Engine

/// Runs a module over `input`, cut in another way for each seed, and compares what comes out with what `reference` makes of
/// the whole of it: however a stream is cut, a module has to do the same.
///
///     try check(Shout.self, on: "Hello! How are you!".utf8) { Array($0.text.replacing("!", with: "!!").utf8) }
///
/// - Throws: a ``Difference`` that names the seed: `seeds: 17..<18` does that one again. An ``ArgumentError`` where the module
///   refuses its arguments.
public func check<Module: ProcessingModule>(
  _ kind: Module.Type, _ arguments: KeyValuePairs<String, String> = [:], on input: some Collection<UInt8>,
  seeds: Range<Int> = 0..<100, equals reference: ([UInt8]) -> [UInt8]
) throws {
  let input = Array(input)
  let wanted = reference(input)
  try check(kind, arguments, onRandom: { _ in input }, seeds: seeds, equals: { _ in wanted })
}

/// As the other, with an input made anew for each seed.
public func check<Module: ProcessingModule>(
  _ kind: Module.Type, _ arguments: KeyValuePairs<String, String> = [:], onRandom input: (inout SplitMix) -> [UInt8],
  seeds: Range<Int> = 0..<100, equals reference: ([UInt8]) -> [UInt8]
) throws {
  for seed in seeds {
    var random = SplitMix(seed: seed)
    let bytes = input(&random)
    let bench = try Bench(kind, arguments)
    let pieces = bench.feed(bytes, cutBy: &random)
    // Whoever sends bytes at a time of its own gets it.
    for _ in 0..<60 where !bench.isFinished { bench.pass(.seconds(60)) }
    let difference = Difference(
      seed: seed, pieces: pieces, input: bytes, output: bench.output, wanted: reference(bytes),
      isFinished: bench.isFinished, state: bench.state ?? "gone")
    guard difference.isNone else { throw difference }
  }
}

/// Where what a module makes of a stream is not what it should.
public struct Difference: Error, CustomStringConvertible {
  public let seed: Int
  /// How many octets there were in each piece.
  public let pieces: [Int]
  public let input: [UInt8]
  public let output: [UInt8]
  public let wanted: [UInt8]
  /// Whether the end of the stream came out, within an hour.
  public let isFinished: Bool
  /// See ``Bench/state``.
  public let state: String

  var isNone: Bool { output == wanted && isFinished && !state.hasPrefix("failed") }

  public var description: String {
    let at = zip(output, wanted).prefix { $0 == $1 }.count
    var text = "seed \(seed): "
    if output != wanted {
      text += "\(output.count) octets instead of \(wanted.count), which differ at \(at): "
      text += "'\(Self.excerpt(output, at))' instead of '\(Self.excerpt(wanted, at))'; "
    }
    if !isFinished { text += "the end of the stream does not come out; " }
    let shown = pieces.prefix(20).map(String.init).joined(separator: " ") + (pieces.count > 20 ? " ..." : "")
    return text + "the module is \(state); \(input.count) octets in pieces of \(shown); seeds: \(seed)..<\(seed + 1)"
  }

  /// The octets around `position`, as a command takes them.
  private static func excerpt(_ bytes: [UInt8], _ position: Int) -> String {
    bytes[max(0, position - 20)..<min(bytes.count, position + 20)].map { byte in
      switch byte {
      case UInt8(ascii: "\\"): "\\\\"
      case 0x20..<0x7F: String(UnicodeScalar(byte))
      default: "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
      }
    }.joined()
  }
}
