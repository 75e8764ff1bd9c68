import Engine

/// A module of the layers `ip` or `tcp` on a bench: packets in, packets out, in the real engine, without a network, a clock or root.
///
///     let bench = try PacketBench(Bouncer.self, ["port": "53"], match: "udp")
///     let outcome = bench.receive(.udp("10.0.0.5", 40_000, to: "192.0.2.1", 53))
///     #expect(outcome.fate == .dropped)
///
/// The module is attached to a flow of `match`, as with `flow add`. A packet that this matches is of the module's own direction;
/// others are of the peer direction at the layer `ip`, and at the layer `tcp` those of a connection whose other direction matches.
/// Each call of ``receive(_:)`` is one packet. Time stands still until ``pass(_:)``.
///
/// On a thread each call waits until the module is done with the packet. What leaves is the same as inline.
public final class PacketBench {
  private let rig: Rig
  private var answered: UInt64 = 0

  /// What became of one packet.
  public struct Outcome: Hashable, Sendable {
    public enum Fate: String, Sendable {
      /// It leaves as it came.
      case passed
      /// It leaves with other octets.
      case changed
      case dropped
      /// It is dropped, and its source is told.
      case refused
    }

    public let fate: Fate
    /// What leaves: the packet where it goes on, and then what is injected beside it; the answer to one that is refused.
    public let leaving: [Packet]
    /// What is wrong with the lengths or checksums of something that leaves, where the packet came with those right; nil where
    /// nothing is. Of a packet that comes damaged nothing is asked.
    public let fault: String?

    /// The packet as it leaves, nil where it does not.
    public var packet: Packet? { fate == .passed || fate == .changed ? leaving.first : nil }
    /// What is sent beside it.
    public var injected: ArraySlice<Packet> { leaving.dropFirst(packet == nil ? 0 : 1) }
  }

  /// Puts a module of `kind` to work, with arguments as a user writes them at `pm attach`.
  ///
  /// - Parameters:
  ///   - match: that of its flow, as a user writes it at `flow add`.
  ///   - runsAsThread: whether it runs as with `--run thread`.
  ///   - cutsOffFailures: whether a failure of the module stops its flow, as `--on-fail drop` does; else packets go on without it.
  /// - Throws: what is wrong with the arguments (``ArgumentError``) or with the match.
  public convenience init<Module: ProcessingModule>(
    _ kind: Module.Type, _ arguments: KeyValuePairs<String, String> = [:], match: String = "any",
    runsAsThread: Bool = false, cutsOffFailures: Bool = false
  ) throws {
    try self.init(
      try Rig.make(kind, arguments), match: match, runsAsThread: runsAsThread, cutsOffFailures: cutsOffFailures)
  }

  /// Puts a copy of `prototype` to work, as each worker of a daemon has one.
  ///
  /// - Throws: what is wrong with the match.
  public init(
    _ prototype: any ProcessingModule, match: String = "any", runsAsThread: Bool = false, cutsOffFailures: Bool = false
  ) throws {
    rig = Rig(
      prototype, matches: [try Rig.match(match)], runsAsThread: runsAsThread, cutsOffFailures: cutsOffFailures)
    _ = rig.settle()
  }

  // MARK: Packets and time

  /// Gives the engine a packet, and says what became of it.
  @discardableResult
  public func receive(_ packet: Packet) -> Outcome {
    let verdict = rig.receive(packet)
    let injected = rig.settle()
    let answered = rig.engine.statistics.engine.refusals
    defer { self.answered = answered }
    var leaving = injected
    var fate = Outcome.Fate.dropped
    switch verdict {
    case .accepted:
      fate = .passed
      leaving.insert(packet, at: 0)
    case .mangled(let changed):
      fate = changed == packet ? .passed : .changed
      leaving.insert(changed, at: 0)
    case .dropped where answered > self.answered: fate = .refused
    case .dropped:
      // One that has waited for a thread is sent anew.
      if let first = injected.first { fate = first == packet ? .passed : .changed }
    }
    let fault = packet.fault == nil ? leaving.lazy.compactMap(\.fault).first : nil
    return Outcome(fate: fate, leaving: leaving, fault: fault)
  }

  /// Lets time go by.
  public func pass(_ time: Nanoseconds) {
    rig.advance(to: rig.now + time)
    _ = rig.settle()
  }

  // MARK: Control

  /// What `pm set` does.
  ///
  /// - Throws: what is wrong with the arguments.
  public func set(_ arguments: KeyValuePairs<String, String>) throws(ArgumentError) {
    try rig.set(arguments)
    _ = rig.settle()
  }

  /// Has the module at work adopt `prototype`, of the same type.
  public func adopt(_ prototype: some ProcessingModule) {
    rig.adopt(prototype)
    _ = rig.settle()
  }

  // MARK: What became of it

  /// Events of the module so far.
  public var events: [ModuleEvent.Content] { rig.events }

  /// What the module has counted so far under `name`: one of ``ModuleDescription/counters``, or one of those that every module
  /// has, such as `edits`. nil where there is no such counter.
  public func count(_ name: String) -> Int? { rig.count(name) }

  /// Why the module has failed, for the first time; nil where it has not.
  public var failure: String? { rig.engine.statistics.engine.moduleFailures > 0 ? failures.first ?? "" : nil }
  private var failures: [String] { events.lazy.filter { $0.name == "failed" }.compactMap { $0.fields["reason"] } }
}

extension PacketBench.Outcome: CustomStringConvertible {
  /// Its fate and what leaves, such as `changed: 192.0.2.1:7 > 192.0.2.9:53 udp`.
  public var description: String {
    leaving.isEmpty
      ? fate.rawValue : fate.rawValue + ": " + leaving.map(\.description).joined(separator: ", ")
  }
}
