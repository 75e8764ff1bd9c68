import Engine

/// Runs a module of the layers `ip` or `tcp` over packets, others for each seed, inline and then on a thread, and compares what leaves
/// with what `reference` makes of each of them: none where it is dropped, the packet, or another one.
///
///     try check(Bouncer.self, ["port": "53"], match: "udp") { $0.protocolNumber == 17 && $0.destinationPort == 53 ? [] : [$0] }
///
/// Behind those come packets that are hardly packets; the module must not fail over them, and what it lets go on must not be damaged
/// further.
///
/// - Parameters:
///   - match: as in ``PacketBench``.
///   - packets: makes the packets of a seed, in the order in which they come. Where there is none they are
///     ``Packet/random(_:using:)`` at the layer `ip`, and ``Packet/connections(_:using:)`` at the layer `tcp`.
///   - reference: what leaves for a packet, with the checksums that it should have; see ``Packet/setChecksums()``.
/// - Throws: a ``PacketDifference`` that names the seed: `seeds: 17..<18` does that one again. An ``ArgumentError`` where the
///   module refuses its arguments.
public func check<Module: ProcessingModule>(
  _ kind: Module.Type, _ arguments: KeyValuePairs<String, String> = [:], match: String = "any",
  onPackets packets: ((inout SplitMix) -> [Packet])? = nil, seeds: Range<Int> = 0..<100,
  each reference: (Packet) -> [Packet]
) throws {
  try checkSequence(kind, arguments, match: match, onPackets: packets, seeds: seeds) { $0.map(reference) }
}

/// As ``check(_:_:match:onPackets:seeds:each:)``, with a reference that is given all packets of a seed at once, and returns what leaves for each: for modules that
/// remember what they have seen.
public func checkSequence<Module: ProcessingModule>(
  _ kind: Module.Type, _ arguments: KeyValuePairs<String, String> = [:], match: String = "any",
  onPackets packets: ((inout SplitMix) -> [Packet])? = nil, seeds: Range<Int> = 0..<100,
  equals reference: ([Packet]) -> [[Packet]]
) throws {
  for seed in seeds {
    var random = SplitMix(seed: seed)
    let given = packets?(&random) ?? kind.packets(&random)
    let wanted = reference(given)
    precondition(wanted.count == given.count, "the reference says of \(given.count) packets what leaves")
    for runsAsThread in [false, true] {
      let bench = try PacketBench(kind, arguments, match: match, runsAsThread: runsAsThread)
      func compare(_ index: Int, _ packet: Packet, _ wanted: [Packet]?) throws {
        let difference = PacketDifference(
          seed: seed, runsAsThread: runsAsThread, index: index, packet: packet, outcome: bench.receive(packet),
          wanted: wanted, failure: bench.failure)
        guard difference.isNone else { throw difference }
      }
      for (index, packet) in given.enumerated() { try compare(index, packet, wanted[index]) }
      var random = random
      for var packet in given {
        packet.damage(using: &random)
        try compare(given.count, packet, nil)
      }
    }
  }
}

extension ProcessingModule {
  fileprivate static func packets(_ random: inout SplitMix) -> [Packet] {
    description.layer == .ip ? Packet.random(50, using: &random) : Packet.connections(3, using: &random)
  }
}

/// Where what a module makes of a packet is not what it should.
public struct PacketDifference: Error, CustomStringConvertible {
  public let seed: Int
  public let runsAsThread: Bool
  /// Where the packet stands among those of the seed, from 0; their number where it is one of the damaged ones behind them.
  public let index: Int
  public let packet: Packet
  public let outcome: PacketBench.Outcome
  /// What should leave; nil where anything may.
  public let wanted: [Packet]?
  /// Why the module has failed.
  public let failure: String?

  var isNone: Bool { (wanted == nil || outcome.leaving == wanted) && outcome.fault == nil && failure == nil }

  public var description: String {
    var text = "seed \(seed), \(runsAsThread ? "on a thread" : "inline"), packet \(index): \(packet) is \(outcome)"
    if let wanted, outcome.leaving != wanted {
      text += " instead of \(wanted.isEmpty ? "dropped" : wanted.map(\.description).joined(separator: ", "))"
      if let (left, right) = zip(outcome.leaving, wanted).first(where: { $0 != $1 }) {
        text += ", which differ at octet \(zip(left.octets, right.octets).prefix { $0 == $1 }.count)"
      }
    }
    if let failure { text += "; the module has failed: \(failure)" }
    return text + "; seeds: \(seed)..<\(seed + 1)"
  }
}
