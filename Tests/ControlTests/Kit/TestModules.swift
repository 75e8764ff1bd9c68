import Control
import Engine

/// An editor with parameters of several kinds.
struct Swap: ProcessingModule {
  static let description = ModuleDescription(
    kind: "swap", access: .edit,
    parameters: [
      Parameter("from", .bytes, help: "What is replaced."),
      Parameter("to", .bytes, default: "", help: "What it is replaced with."),
      Parameter("limit", .integer(0...100), default: "0", unit: "edits", help: "After so many it stops."),
    ],
    counters: ["matches", "left_alone"], help: "Replaces bytes.")

  let from: [UInt8]
  let to: [UInt8]
  let limit: Int

  init(_ arguments: Arguments) throws(ArgumentError) {
    from = arguments.bytes("from")
    to = arguments.bytes("to")
    limit = arguments.integer("limit")
    if from.isEmpty { throw ArgumentError("parameter 'from' is empty: nothing cannot be found") }
  }

  mutating func process(_ window: inout Window) { window.releaseAll() }
}

/// A reader without parameters.
struct Look: ProcessingModule {
  static let description = ModuleDescription(kind: "look", access: .read, help: "Only looks.")

  init(_ arguments: Arguments) {}

  mutating func process(_ window: inout Window) { window.releaseAll() }
}

/// A reader of packets.
struct Tap: ProcessingModule {
  static let description = ModuleDescription(kind: "tap", layer: .ip, access: .read, help: "Sees packets.")

  init(_ arguments: Arguments) {}

  mutating func process(_ window: inout Window) { window.releaseAll() }
}

/// An editor of segments.
struct Trim: ProcessingModule {
  static let description = ModuleDescription(kind: "trim", layer: .tcp, access: .edit, help: "Edits segments.")

  init(_ arguments: Arguments) {}

  mutating func process(_ window: inout Window) { window.releaseAll() }
}

/// A reader that waits for what it reads.
struct Wait: ProcessingModule {
  static let description = ModuleDescription(
    kind: "wait", access: .read, needsThread: true, help: "Reads like a program.")

  init(_ arguments: Arguments) {}

  mutating func process(_ window: inout Window) { window.releaseAll() }
}

/// Would wait for packets as if they were a stream.
struct WaitForPackets: ProcessingModule {
  static let description = ModuleDescription(
    kind: "wait-packets", layer: .ip, access: .read, needsThread: true, help: "Waits for packets.")

  init(_ arguments: Arguments) {}
}

/// The same for segments.
struct WaitForSegments: ProcessingModule {
  static let description = ModuleDescription(
    kind: "wait-segments", layer: .tcp, access: .read, needsThread: true, help: "Waits for segments.")

  init(_ arguments: Arguments) {}
}

/// Would read from two streams.
struct WaitForBoth: ProcessingModule {
  static let description = ModuleDescription(
    kind: "wait-both", access: .read, peer: true, needsThread: true, help: "Waits for both directions.")

  init(_ arguments: Arguments) {}
}

/// An editor of packets of one version of IP.
struct Address: ProcessingModule {
  static let description = ModuleDescription(
    kind: "address", layer: .ip, access: .edit, parameters: [Parameter("version", .integer(4...6), help: "4 or 6.")],
    help: "Edits addresses.")

  let ipVersion: Int?

  init(_ arguments: Arguments) { ipVersion = arguments.integer("version") }

  mutating func process(_ window: inout Window) {}
}

extension ModuleRegistry {
  static let test = try! ModuleRegistry([Swap.self, Look.self, Tap.self, Trim.self, Wait.self])
  /// With modules that can work nowhere.
  static let contradictory = try! ModuleRegistry([
    Wait.self, WaitForPackets.self, WaitForSegments.self, WaitForBoth.self,
  ])
}
