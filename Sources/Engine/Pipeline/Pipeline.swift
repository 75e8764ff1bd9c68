import HeapModule

/// The stages that the bytes of one direction go through, each with its modules and the bytes between their heads and the tail.
///
/// A stage has one editor, or any number of readers that look at the same bytes. What was configured as one stage of an
/// editor and readers is two here: the editor gets what all the readers have released.
struct Pipeline {
  struct Stage {
    var members: [Member]
    /// From the trailing head to the tail.
    var input = SegmentQueue()
    /// What an editor on a thread of its own has returned, on the way to the next stage.
    var returned = SegmentQueue()
    /// The heads of several members, the trailing one on top; those that have moved since are passed over.
    private var heads = Heap<Head>()
    /// Octets that have left the stage, modulo 2^64: where `input` begins.
    private var passed: UInt64 = 0
    /// Octets that have come to the stage, likewise.
    fileprivate(set) var came: UInt64 = 0

    private struct Head: Comparable {
      var position: UInt64
      var member: Int

      static func < (left: Head, right: Head) -> Bool { Int64(bitPattern: left.position &- right.position) < 0 }
    }

    init(members: [Member]) {
      self.members = members
      renew()
    }

    /// Octets in front of the trailing head, none of which a member still needs.
    mutating func released() -> Int {
      guard members.count > 1 else { return members.first?.head ?? input.count }
      while let top = heads.min, top.member >= members.count || position(top.member) != top.position {
        heads.removeMin()
      }
      return heads.min.map { Int(truncatingIfNeeded: $0.position &- passed) } ?? 0
    }

    /// Octets that a member has let go, as they have left it, since the stage is there.
    func released(by member: Member) -> UInt64 { passed &+ UInt64(member.head) }

    /// Octets that a member has in its hands, as they are now.
    func held(by member: Member) -> Int { input.count - member.head }

    private func position(_ member: Int) -> UInt64 { released(by: members[member]) }

    /// Octets that have come to a member since this was asked last.
    mutating func news(for member: Int) -> UInt64 {
      defer { members[member].counted = came }
      return came &- members[member].counted
    }

    /// Moves the head of a member on.
    mutating func advance(_ member: Int, by octets: Int) {
      members[member].head += octets
      if members.count > 1 { heads.insert(Head(position: position(member), member: member)) }
    }

    /// Moves everything in `stream` to the tail. A stage with nothing in it has no memory for it either.
    mutating func takeIn(_ stream: inout SegmentQueue, _ spares: inout SpareQueues) {
      if input.isEmpty { input = spares.take() }
      takeIn(&stream)
    }

    mutating func takeIn(_ stream: inout SegmentQueue) {
      came &+= UInt64(stream.count)
      stream.move(all: &input)
    }

    /// As ``release(to:in:)``, and gives memory back that is not needed.
    mutating func release(to stream: inout SegmentQueue, in pool: SlabPool, _ spares: inout SpareQueues) {
      release(to: &stream, in: pool)
      if input.isEmpty { spares.giveBack(&input) }
    }

    /// Moves what all members have released to the end of `stream`.
    mutating func release(to stream: inout SegmentQueue, in pool: SlabPool) {
      let count = released()
      passed &+= UInt64(returned.count)
      returned.move(all: &stream)
      // What was removed in front of octets that a thread has is in its hands as well.
      guard count > 0 || members.allSatisfy({ $0.handed == 0 }) else { return }
      input.move(first: count, to: &stream, in: pool)
      passed &+= UInt64(count)
      shift(by: count)
    }

    /// Drops what an editor on a thread of its own has taken; what it made of it is in ``returned``.
    mutating func drop(octets: Int, numbers: Int, in pool: SlabPool) {
      input.drop(octets: octets, numbers: numbers, in: pool)
      shift(by: octets)
      // Its head is where the input begins.
      members[0].head = 0
    }

    /// Takes note that so many octets are gone in front of the input.
    private mutating func shift(by octets: Int) {
      for index in members.indices {
        members[index].head -= octets
        members[index].handed = max(0, members[index].handed - octets)
      }
    }

    /// Drops what is in it.
    mutating func removeAll(in pool: SlabPool) {
      input.removeAll(in: pool)
      returned.removeAll(in: pool)
      for index in members.indices { (members[index].head, members[index].handed) = (0, 0) }
      renew()
    }

    /// Whether nothing is left to be done behind the end of the stream.
    var isDone: Bool { input.count == 0 && returned.isEmpty && members.allSatisfy(\.isEnded) }

    /// Makes the heap anew, after members have come or gone.
    mutating func renew() {
      heads = Heap()
      guard members.count > 1 else { return }
      for index in members.indices { heads.insert(Head(position: position(index), member: index)) }
    }
  }

  /// One module at work in a stage.
  struct Member {
    /// Since when its head has not moved while there was something to release.
    var heldSince: Instant?
    /// Whether the instance works on this direction as its peer.
    let isPeer: Bool
    /// Whether its thread has been told of the end of the stream.
    var isEndHanded = false
    /// Whether it has been told of the end of the stream.
    var isEnded = false
    /// When it wants to be called, whether more has come or not.
    var wakeTime: Instant?
    private var instanceIndex: UInt32
    /// Octets of the stage's input that it has released, while others have not.
    var head = 0
    /// Octets of the stage's input that its thread has been given, where it has one.
    var handed = 0
    /// How many of the octets that have come to the stage are counted as its own.
    var counted: UInt64 = 0

    init(instance: Int, isPeer: Bool) {
      instanceIndex = UInt32(instance)
      self.isPeer = isPeer
    }

    /// Index of the instance among the connection's.
    var instance: Int {
      get { Int(instanceIndex) }
      set { instanceIndex = UInt32(newValue) }
    }
  }

  /// A module that a segment is yet to meet, whatever has become of the others meanwhile.
  struct Step: Equatable {
    /// ``AttachedModule/id``
    var module: UInt32
    var isPeer: Bool

    init(_ member: Member, _ instances: [ModuleInstance]) {
      module = instances[member.instance].id
      isPeer = member.isPeer
    }

    static func list(_ members: ArraySlice<Member>, _ instances: [ModuleInstance]) -> [Step] {
      members.map { Step($0, instances) }
    }
  }

  var stages: [Stage] = []

  // What follows is asked of each packet, and so goes by indices: an iterator retains the memory of each stage.

  /// Octets held in all stages.
  var held: Int {
    var held = 0
    for stage in stages.indices { held += stages[stage].input.count }
    return held
  }

  /// Octets held by modules that release at times of their own.
  func paced(_ instances: [ModuleInstance]) -> Int {
    var held = 0
    for stage in stages.indices where stages[stage].input.count > 0 {
      if has(in: stage, { instances[$0.instance].description.paces }) { held += stages[stage].input.count }
    }
    return held
  }

  @inline(__always) private func has(in stage: Int, _ isMeant: (Member) -> Bool) -> Bool {
    for member in stages[stage].members.indices where isMeant(stages[stage].members[member]) { return true }
    return false
  }

  /// Since when bytes have been held, by the member that has held longest.
  var heldSince: Instant? { earliest { $0.heldSince } }

  @inline(__always) private func earliest(_ time: (Member) -> Instant?) -> Instant? {
    var earliest: Instant?
    // By index: a copy of a stage would count up and down the references of all that it has, with each packet.
    for stage in stages.indices {
      for member in stages[stage].members.indices {
        guard let time = time(stages[stage].members[member]) else { continue }
        earliest = earliest.map { min($0, time) } ?? time
      }
    }
    return earliest
  }

  /// The next time at which bytes will have been held for too long, or a module wants to be called.
  ///
  /// - Parameter patience: how many times its hold time a module may hold.
  func deadline(_ instances: [ModuleInstance], patience: Int64) -> Instant? {
    earliest { member in
      let held = member.heldSince.map { $0 + instances[member.instance].holdTime * patience }
      guard let wake = member.wakeTime else { return held }
      return held.map { min($0, wake) } ?? wake
    }
  }

  /// Whether a module edits here.
  func isEditing(_ instances: [ModuleInstance]) -> Bool {
    for stage in stages.indices {
      if has(in: stage, { instances[$0.instance].description.access == .edit }) { return true }
    }
    return false
  }

  /// Runs the modules over what has come, stage by stage.
  ///
  /// - Parameters:
  ///   - stream: what enters at the first stage; comes back as what the last one released.
  ///   - isEnded: whether nothing comes behind it.
  ///   - patience: how many times its hold time a module may hold; nil where it is not the time to ask.
  mutating func run(
    _ stream: inout SegmentQueue, isEnded: Bool, patience: Int64?, identity: ConnectionIdentity,
    instances: inout [ModuleInstance], _ environment: inout Environment
  ) {
    var isEnded = isEnded
    for index in stages.indices {
      stages[index].takeIn(&stream, &environment.spareQueues)
      for member in stages[index].members.indices {
        let news = stages[index].news(for: member)
        if news > 0 { instances[stages[index].members[member].instance].tally.common.octetsIn += news }
        if let exchange = instances[stages[index].members[member].instance].exchange {
          hand(index, member, isEnded, patience, exchange, instances, environment.now)
        } else if !instances[stages[index].members[member].instance].isThreadGone {
          work(index, member, isEnded, patience, identity, &instances, &environment)
        }
      }
      stages[index].release(to: &stream, in: environment.pool, &environment.spareQueues)
      isEnded = isEnded && stages[index].isDone
      // What the source had removed behind its last octet.
      if isEnded { stages[index].input.move(all: &stream) }
    }
  }

  /// Whether all stages have come to the end of the stream.
  var isDone: Bool { stages.allSatisfy(\.isDone) }

  /// Where a datagram waits for the thread of a module.
  struct Wait {
    let exchange: PacketExchange
    let isPeer: Bool
    /// The modules that it is yet to meet behind that one.
    let rest: [Step]
  }

  /// Runs the modules over one datagram, all of which comes out again.
  ///
  /// - Parameters:
  ///   - rest: those that are left to see it, of one that has waited for a thread; nil for all.
  ///   - mayEdit: whether editors take part; false of a super-packet, which no thread can have.
  ///   - limit: octets that a datagram may have.
  /// - Returns: the thread that it has to wait for; nil where it is through.
  mutating func run(
    datagram: inout SegmentQueue, _ rest: [Step]?, mayEdit: Bool, limit: Int, identity: ConnectionIdentity,
    instances: inout [ModuleInstance], _ environment: inout Environment
  ) -> Wait? {
    for index in stages.indices {
      guard rest != nil || stages[index].members.contains(where: { instances[$0.instance].packets != nil }) else {
        let isEnded = show(
          &datagram, index, stages[index].members.indices, mayEdit: mayEdit, limit: limit, identity, &instances,
          &environment)
        if isEnded { return nil }
        continue
      }
      for member in stages[index].members.indices {
        let state = stages[index].members[member]
        if let rest, !rest.contains(Step(state, instances)) { continue }
        guard let exchange = instances[state.instance].packets else {
          let isEnded = show(
            &datagram, index, member..<member + 1, mayEdit: mayEdit, limit: limit, identity, &instances, &environment)
          if isEnded { return nil }
          continue
        }
        guard !mayEdit else {
          return Wait(exchange: exchange, isPeer: state.isPeer, rest: steps(behind: member, of: index, instances))
        }
        instances[state.instance].tally.common.unseen += 1
        guard instances[state.instance].description.access == .read else { continue }
        environment.counters.superDatagrams += 1
        instances[state.instance].ask(instances[state.instance].onFail.fate)
      }
    }
    return nil
  }

  private func steps(behind member: Int, of index: Int, _ instances: [ModuleInstance]) -> [Step] {
    Step.list(stages[index].members[(member + 1)...], instances)
      + stages[(index + 1)...].flatMap { Step.list($0.members[...], instances) }
  }

  /// Shows a datagram to the `chosen` members of the stage at `index`; it comes out again. Says whether one of them has ended its
  /// way.
  private mutating func show(
    _ datagram: inout SegmentQueue, _ index: Int, _ chosen: Range<Int>, mayEdit: Bool, limit: Int,
    _ identity: ConnectionIdentity, _ instances: inout [ModuleInstance], _ environment: inout Environment
  ) -> Bool {
    var isEnded = false
    stages[index].takeIn(&datagram, &environment.spareQueues)
    for member in stages[index].members.indices where unreleased(index, member) > 0 {
      let instance = stages[index].members[member].instance
      let isPeer = stages[index].members[member].isPeer
      if !isEnded, chosen.contains(member), !instances[instance].isOver {
        guard mayEdit || instances[instance].description.access == .read else {
          instances[instance].tally.common.unseen += 1
          stages[index].advance(member, by: unreleased(index, member))
          continue
        }
        instances[instance].takeNote(ofArrival: stages[index].input.count, isPeer: isPeer)
        _ = pass(index, member, true, false, isDatagram: true, identity, &instances, &environment)
        if stages[index].input.count > limit {
          instances[instance].fail(Self.tooLong(stages[index].input.count, limit))
        }
        isEnded = instances[instance].hasEndedTheWay
        if !isEnded {
          if unreleased(index, member) > 0 { instances[instance].tally.common.forcedReleases += 1 }
          instances[instance].takeNote(ofRelease: stages[index].input.count, isPeer: isPeer)
        }
      }
      stages[index].advance(member, by: unreleased(index, member))
    }
    stages[index].release(to: &datagram, in: environment.pool, &environment.spareQueues)
    return isEnded
  }

  /// What is wrong with a datagram of `count` octets.
  static func tooLong(_ count: Int, _ limit: Int) -> String { "it makes a datagram of \(count) octets; \(limit) fit" }

  /// Lets one member work, where there is something for it.
  private mutating func work(
    _ index: Int, _ member: Int, _ isEnded: Bool, _ patience: Int64?, _ identity: ConnectionIdentity,
    _ instances: inout [ModuleInstance], _ environment: inout Environment
  ) {
    let state = stages[index].members[member]
    let isAwake = state.wakeTime.map { $0 <= environment.now } ?? false
    guard stages[index].input.count > state.head || (isEnded && !state.isEnded) || isAwake else { return }
    if isAwake { stages[index].members[member].wakeTime = nil }
    let instance = state.instance
    let isExpired =
      patience.map { patience in
        state.heldSince.map { environment.now >= $0 + instances[instance].holdTime * patience } ?? false
      } ?? false
    var isForced = (isEnded && !instances[instance].description.paces) || isExpired
    var released = pass(index, member, isForced, isEnded, identity, &instances, &environment)
    var excess: Int?
    if !isForced, unreleased(index, member) > instances[instance].description.holdLimit {
      excess = unreleased(index, member)
      released += pass(index, member, true, isEnded, identity, &instances, &environment)
      isForced = true
    }
    let left = unreleased(index, member)
    // Of a connection that the module ends nothing goes on.
    if isForced, left > 0, instances[instance].fate == nil {
      // The module did not release what it had to: it goes on unedited.
      let tally = instances[instance].tally
      tally.common.forcedReleases += 1
      tally.common.octetsOut += UInt64(left)
      stages[index].advance(member, by: left)
      if !isEnded { instances[instance].failHolding(left, excess: excess) }
    }
    stages[index].members[member].isEnded = isEnded
    if unreleased(index, member) == 0 {
      stages[index].members[member].heldSince = nil
    } else if released > 0 || state.heldSince == nil {
      stages[index].members[member].heldSince = environment.now
    }
  }

  /// Octets between a member's head and its tail.
  private func unreleased(_ index: Int, _ member: Int) -> Int {
    stages[index].input.count - stages[index].members[member].head
  }

  /// Calls the module once and moves its head. Returns the octets released.
  private mutating func pass(
    _ index: Int, _ member: Int, _ mustRelease: Bool, _ isFinal: Bool, isDatagram: Bool = false,
    _ identity: ConnectionIdentity, _ instances: inout [ModuleInstance], _ environment: inout Environment
  ) -> Int {
    let state = stages[index].members[member]
    let tally = instances[state.instance].tally
    let description = instances[state.instance].description
    let setting = unsafe Window.Setting(
      identity: identity, mayEdit: description.access == .edit, own: tally.own, isDatagram: isDatagram)
    var window = Window(
      stages[index].input.takeAll(), from: state.head, pool: environment.pool, setting: setting, now: environment.now,
      mustRelease, isFinal,
      spare: environment.spareQueues.take())
    do {
      if state.isPeer {
        try instances[state.instance].module.processPeer(&window)
      } else {
        try instances[state.instance].module.process(&window)
      }
    } catch {
      window.fail("it threw: \(error)")
    }
    let released = window.released
    if !isDatagram { tally.common.octetsOut += UInt64(released) }
    tally.common.edits += window.edits
    tally.common.octetsRemoved += window.removed
    tally.common.octetsInserted += window.inserted
    if let wake = window.requests.wake { stages[index].members[member].wakeTime = environment.now + wake }
    instances[state.instance].take(window.requests, connection: identity.id, &environment)
    var (queue, spare) = window.takeQueues()
    swap(&stages[index].input, &queue)
    environment.spareQueues.giveBack(&spare)
    stages[index].advance(member, by: released)
    return released
  }

  mutating func removeAll(in pool: SlabPool) {
    for index in stages.indices {
      stages[index].removeAll(in: pool)
    }
  }
}
