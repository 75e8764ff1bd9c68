@testable import Engine

/// Sets the hop limit of every packet.
struct HopLimit: ProcessingModule {
  static let description = ModuleDescription(
    kind: "hop-limit", layer: .ip, access: .edit, counters: ["packets", "unsound", "fragments"], help: "-")
  var limit: UInt8 = 9
  init(_ arguments: Arguments) {}
  init(_ limit: UInt8) { self.limit = limit }
  mutating func process(_ window: inout Window) {
    guard let packet = window.packet else { return }
    window.count(0)
    if !packet.isSound { window.count(1) }
    if packet.isFragment { window.count(2) }
    let at = packet.isIPv6 ? 7 : 8
    window.replace(at..<at + 1, with: [limit])
  }
}

/// Gives one host another address: 10.0.0.1 is 192.0.2.1 outside, in fd00::1 the first group is 2001.
struct Translator: ProcessingModule {
  static let description = ModuleDescription(kind: "translator", layer: .ip, access: .edit, peer: true, help: "-")
  static let inside: [UInt8] = [10, 0, 0, 1]
  static let outside: [UInt8] = [192, 0, 2, 1]
  init(_ arguments: Arguments) {}
  init() {}
  mutating func process(_ window: inout Window) { change(&window, at: 12, 8, Self.inside, Self.outside) }
  mutating func processPeer(_ window: inout Window) { change(&window, at: 16, 24, Self.outside, Self.inside) }
  private func change(_ window: inout Window, at v4: Int, _ v6: Int, _ from: [UInt8], _ to: [UInt8]) {
    guard let packet = window.packet else { return }
    if packet.isIPv6 {
      let groups: [[UInt8]] = [[0xfd, 0], [0x20, 0x01]]
      let isInside = from == Self.inside
      if window.copy(v6..<v6 + 2) == groups[isInside ? 0 : 1] {
        window.replace(v6..<v6 + 2, with: groups[isInside ? 1 : 0])
      }
    } else if window.copy(v4..<v4 + 4) == from {
      window.replace(v4..<v4 + 4, with: to)
    }
  }
}

/// Lets nothing pass.
struct Refuser: ProcessingModule {
  static let description = ModuleDescription(kind: "refuser", layer: .ip, access: .read, help: "-")
  var isTelling = true
  init(_ arguments: Arguments) {}
  init(isTelling: Bool = true) { self.isTelling = isTelling }
  mutating func process(_ window: inout Window) { if isTelling { window.reset() } else { window.drop() } }
}

/// Throws at the packets whose number is given, counted from 1.
struct Failing: ProcessingModule {
  struct Reason: Error {}
  static let description = ModuleDescription(
    kind: "failing", layer: .ip, access: .edit, counters: ["packets"], help: "-")
  var at = 1
  private var seen = 0
  init(_ arguments: Arguments) {}
  init(at: Int) { self.at = at }
  mutating func process(_ window: inout Window) throws {
    window.count(0)
    seen += 1
    if seen == at { throw Reason() }
  }
}

/// Sets the window that segments offer, and counts them.
struct WindowSetter: ProcessingModule {
  static let description = ModuleDescription(
    kind: "window-setter", layer: .tcp, access: .edit, peer: true, counters: ["own", "peer"], help: "-")
  var size: [UInt8] = [0x12, 0x34]
  init(_ arguments: Arguments) {}
  init() {}
  mutating func process(_ window: inout Window) {
    window.count(0)
    window.replace(14..<16, with: size)
  }
  mutating func processPeer(_ window: inout Window) { window.count(1) }
}

/// Takes the first octet of the payload of a segment for something else, or for a wish.
struct SegmentModule: ProcessingModule {
  static let description = ModuleDescription(kind: "segment", layer: .tcp, access: .edit, help: "-")
  init(_ arguments: Arguments) {}
  init() {}
  mutating func process(_ window: inout Window) {
    guard let packet = window.packet, window.count > packet.payloadOffset else { return }
    switch window[packet.payloadOffset] {
    case UInt8(ascii: "D"): window.drop()
    case UInt8(ascii: "R"): window.reset()
    case UInt8(ascii: "P"): window.replace(0..<2, with: [1, 1])
    case UInt8(ascii: "a"): window.replace(packet.payloadOffset..<packet.payloadOffset + 1, with: [UInt8(ascii: "b")])
    default: break
    }
  }
}
