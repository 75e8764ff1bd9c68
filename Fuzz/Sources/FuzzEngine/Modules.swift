import Engine

/// Replaces some octets by others, none or many.
struct Editor: ProcessingModule {
  static let description = ModuleDescription(
    kind: "editor", access: .edit, holdTime: .milliseconds(50), holdLimit: 3_000, help: "Edits.")
  var rule: [UInt8: [UInt8]] = [:]
  /// Octets held back.
  var hold = 0

  init(_ arguments: Arguments) {}
  init(rule: [UInt8: [UInt8]], hold: Int) {
    self.rule = rule
    self.hold = hold
  }

  mutating func process(_ window: inout Window) {
    var at = 0
    for _ in 0..<(window.mustRelease ? window.count : max(0, window.count - hold)) {
      if let replacement = rule[window[at]] {
        window.replace(at..<at + 1, with: replacement)
        at += replacement.count
      } else {
        at += 1
      }
    }
    window.release(upTo: at)
  }
}

/// Holds all until it must let go, for longer than an acknowledgement may wait.
struct Holder: ProcessingModule {
  static let description = ModuleDescription(
    kind: "holder", access: .edit, holdTime: .milliseconds(400), holdLimit: 2_000, help: "Holds.")
  init(_ arguments: Arguments) {}
  init() {}
  mutating func process(_ window: inout Window) { if window.mustRelease { window.releaseAll() } }
}

/// Reads, and takes its time.
struct Watcher: ProcessingModule {
  static let description = ModuleDescription(kind: "watcher", access: .read, holdLimit: 5_000, help: "Watches.")
  init(_ arguments: Arguments) {}
  init() {}
  mutating func process(_ window: inout Window) {
    window.release(upTo: window.mustRelease ? window.count : max(0, window.count - 50))
  }
}

/// Stays for a while after it has been detached.
struct Lingerer: ProcessingModule {
  static let description = ModuleDescription(kind: "lingerer", access: .edit, peer: false, help: "Lingers.")
  var asked = 0
  init(_ arguments: Arguments) {}
  init() {}
  mutating func process(_ window: inout Window) {
    window.release(upTo: window.mustRelease ? window.count : window.count / 2)
  }
  mutating func retire() -> Bool {
    asked += 1
    return asked > 3
  }
}

/// Changes the hop limit of packets.
struct HopSetter: ProcessingModule {
  static let description = ModuleDescription(kind: "hop-setter", layer: .ip, access: .edit, help: "Sets hop limits.")
  init(_ arguments: Arguments) {}
  init() {}
  mutating func process(_ window: inout Window) {
    guard let packet = window.packet else { return }
    let at = packet.isIPv6 ? 7 : 8
    if window.count > at { window.replace(at..<at + 1, with: [33]) }
  }
}

/// Changes octets of the payload of segments. In front of the streams, so that all the rest is done with what it makes.
struct Mapper: ProcessingModule {
  static let description = ModuleDescription(kind: "mapper", layer: .tcp, access: .edit, help: "Maps octets.")
  init(_ arguments: Arguments) {}
  init() {}
  mutating func process(_ window: inout Window) {
    guard let packet = window.packet else { return }
    for at in packet.payloadOffset..<max(packet.payloadOffset, window.count) where window[at] == 5 {
      window.replace(at..<at + 1, with: [6])
    }
  }
}

/// Reads a little and has no more interest.
struct Leaver: ProcessingModule {
  static let description = ModuleDescription(kind: "leaver", access: .read, help: "Leaves.")
  private var seen = 0
  init(_ arguments: Arguments) {}
  init() {}
  mutating func process(_ window: inout Window) {
    seen += window.count
    window.releaseAll()
    if seen > 50 { window.offload() }
  }
}

/// Writes down what it sees. It stands last, so that is what the destination has to get.
struct Recorder: ProcessingModule {
  static let description = ModuleDescription(kind: "recorder", access: .read, help: "Records.")
  /// The records of the input at play; one thread plays.
  nonisolated(unsafe) static var records: [[UInt8]] = []
  /// Which path each belongs to: twice the epoch of its connection, and one more on the way to the client.
  nonisolated(unsafe) static var owners: [Int] = []
  /// How often each connection has been opened.
  nonisolated(unsafe) static var epochs = [0, 0, 0, 0]
  /// Twice the number of the connection, and one more on the way to the client.
  var place: Int
  /// Whether it has no more interest.
  private var isLeaving = false
  private var record: Int?

  init(_ arguments: Arguments) { place = 0 }
  init(place: Int, isLeaving: Bool) {
    self.place = place
    self.isLeaving = isLeaving
  }

  mutating func adopt(_ prototype: Recorder) { isLeaving = prototype.isLeaving }

  mutating func process(_ window: inout Window) {
    if window.count > 0 {
      if record == nil {
        record = Self.records.count
        Self.records.append([])
        Self.owners.append(Self.epochs[place / 2] * 2 + place % 2)
      }
      Self.records[record!] += window.copy(0..<window.count)
    }
    window.releaseAll()
    if isLeaving { window.offload() }
  }
}
