@testable import Engine

/// A module on a bench: one connection with a pipeline of one stage in each direction, fed by hand, without packets.
@safe struct Bench: ~Copyable {
  private var environment = Environment(settings: Settings())
  private let tally: ModuleTally
  private var instances: [ModuleInstance]
  private var own = Pipeline()
  private var peer = Pipeline()
  private var fed: (own: UInt32, peer: UInt32) = (1_000, 5_000)
  private let description: ModuleDescription

  /// What has come out so far.
  private(set) var output: [UInt8] = []
  private(set) var peerOutput: [UInt8] = []

  init(_ module: any ProcessingModule) {
    let attached = AttachedModule(id: 1, name: "bench", prototype: module)
    description = attached.description
    tally = ModuleTally(ownCount: description.counters.count)
    instances = [ModuleInstance(attached, owner: .toClient, tally: tally)]
    own.stages = [Pipeline.Stage(members: [Pipeline.Member(instance: 0, isPeer: false)])]
    if description.peer { peer.stages = [Pipeline.Stage(members: [Pipeline.Member(instance: 0, isPeer: true)])] }
  }

  /// A module of `kind` as `pm attach` makes it.
  init<Module: ProcessingModule>(_ kind: Module.Type, _ given: [(String, String)] = []) throws {
    self.init(try kind.init(Arguments(given.map { (key: $0.0, value: $0.1) }, for: kind.description.parameters)))
  }

  private func identity(_ direction: ConnectionIdentity.Direction) -> ConnectionIdentity {
    let nobody = IPAddress(v4: 0)
    return ConnectionIdentity(
      id: 1, clientAddress: nobody, clientPort: 1, serverAddress: nobody, serverPort: 2, direction: direction)
  }

  /// Gives `bytes` to the direction that the module is attached to.
  mutating func feed(_ bytes: some Collection<UInt8>, isEnded: Bool = false) {
    var stream = segments(Array(bytes), from: fed.own)
    fed.own &+= UInt32(bytes.count)
    own.run(
      &stream, isEnded: isEnded, patience: 1, identity: identity(.toClient), instances: &instances,
      &environment)
    output += drain(&stream)
  }

  /// Gives `bytes` to the peer direction.
  mutating func feedPeer(_ bytes: some Collection<UInt8>, isEnded: Bool = false) {
    var stream = segments(Array(bytes), from: fed.peer)
    fed.peer &+= UInt32(bytes.count)
    peer.run(
      &stream, isEnded: isEnded, patience: 1, identity: identity(.toServer), instances: &instances,
      &environment)
    peerOutput += drain(&stream)
  }

  /// Feeds `bytes` cut at random, and the end of the stream with or behind the last of them.
  mutating func feed(_ bytes: [UInt8], cutBy random: inout SplitMix, isEnded: Bool = true) {
    var left = bytes[...]
    let most = [1, 2, 7, 40, 300, bytes.count].randomElement(using: &random) ?? 1
    while !left.isEmpty {
      let count = min(left.count, Int.random(in: 1...max(most, 1), using: &random))
      feed(left.prefix(count), isEnded: isEnded && count == left.count && Bool.random(using: &random))
      left.removeFirst(count)
    }
    if isEnded { feed([], isEnded: true) }
  }

  /// Lets the time go by after which nothing may be held any more.
  mutating func expire() {
    environment.now = environment.now + description.holdTime
    feed([])
    feedPeer([])
  }

  mutating func adopt(_ module: any ProcessingModule) {
    instances[0].adopt(AttachedModule(id: 1, name: "bench", revision: instances[0].revision + 1, prototype: module))
  }

  mutating func retire() -> Bool { instances[0].module.retire() }

  /// Octets that are held in the direction of the module.
  var held: Int { own.held }

  /// What the module has counted under `name`.
  func count(_ name: String) -> Int? {
    guard let index = description.counters.firstIndex(of: name) else { return nil }
    return unsafe Int(tally.own[index])
  }

  private func segments(_ bytes: [UInt8], from sequence: UInt32) -> SegmentQueue {
    var queue = SegmentQueue()
    var done = 0
    while done < bytes.count {
      let length = min(bytes.count - done, 65_536)
      let place = unsafe bytes.withUnsafeBytes {
        unsafe environment.pool.copy(UnsafeRawBufferPointer(rebasing: $0[done..<done + length]))
      }
      guard let (slab, start, end) = place else { preconditionFailure("the pool of the bench is exhausted") }
      queue.append(.kept(slab, start, end, source: InSequence(sequence &+ UInt32(done))))
      done += length
    }
    return queue
  }

  private func drain(_ stream: inout SegmentQueue) -> [UInt8] {
    var bytes: [UInt8] = []
    while let segment = stream.popFirst() {
      guard segment.slab != .none else { continue }
      unsafe bytes.append(contentsOf: environment.pool.bytes(segment.slab, segment.start, segment.end))
      environment.pool.release(segment.slab)
    }
    return bytes
  }
}

/// A small generator of repeatable random numbers.
struct SplitMix: RandomNumberGenerator {
  private var state: UInt64

  init(seed: Int) { state = UInt64(bitPattern: Int64(seed)) }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }
}

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
