import FlowOS
import Glibc

/// Takes its time over each packet, as one does that asks a database about it.
struct Ponder: ProcessingModule {
  static let description = ModuleDescription(
    kind: "ponder", layer: .ip, access: .read,
    parameters: [Parameter("time", .integer(0...10_000), default: "10", unit: "ms", help: "how long over each packet")],
    help: "Takes its time over each packet.")

  private let time: Int

  init(_ arguments: Arguments) { time = arguments.integer("time") }

  mutating func process(_ window: inout Window) { usleep(UInt32(time) * 1_000) }
}
