import Synchronization

@testable import Engine

/// What a module for packets of the property tests has seen of the payload of segments, and what it made of it.
final class PacketTrace: Sendable {
  struct Segment: Sendable {
    var sequence: UInt32
    var input: [UInt8]
    var output: [UInt8]
  }

  let segments = Mutex<[Segment]>([])

  /// Takes the payload of a segment and puts what `rule` says in the place of its octets.
  func map(_ window: inout Window, _ rule: [UInt8: UInt8]) {
    guard let packet = window.packet else { return }
    let at = packet.transportOffset + 4
    let sequence = UInt32(window.uint16(at: at)) << 16 | UInt32(window.uint16(at: at + 2))
    let place = packet.payloadOffset..<window.count
    let input = window.copy(place)
    guard !input.isEmpty else { return }
    let output = input.map { rule[$0] ?? $0 }
    if output != input { window.replace(place, with: output) }
    segments.withLock { $0.append(Segment(sequence: sequence, input: input, output: output)) }
  }
}

/// Changes octets of the payload of packets, at the layer `ip`.
struct TracedPackets: ProcessingModule {
  static let description = ModuleDescription(kind: "traced-packets", layer: .ip, access: .edit, help: "-")
  var rule: [UInt8: UInt8] = [:]
  var trace = PacketTrace()

  init(_ arguments: Arguments) {}
  init(_ rule: [UInt8: UInt8], _ trace: PacketTrace) {
    self.rule = rule
    self.trace = trace
  }

  mutating func process(_ window: inout Window) { trace.map(&window, rule) }
}

/// As ``TracedPackets``, at the layer `tcp`.
struct TracedSegments: ProcessingModule {
  static let description = ModuleDescription(kind: "traced-segments", layer: .tcp, access: .edit, help: "-")
  private var packets: TracedPackets

  init(_ arguments: Arguments) { packets = TracedPackets(arguments) }
  init(_ rule: [UInt8: UInt8], _ trace: PacketTrace) { packets = TracedPackets(rule, trace) }

  mutating func process(_ window: inout Window) { packets.process(&window) }
}
