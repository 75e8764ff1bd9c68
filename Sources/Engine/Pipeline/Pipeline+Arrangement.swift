/// Changing the stages of a pipeline that is at work.
extension Pipeline {
  /// Puts `wanted` in the place of the stages. A stage goes on with its bytes where some of its members do; a module that has
  /// gone to another stage begins there anew and must not be among the members of the old one. Those that are not wanted any
  /// more keep their place until they are taken out. What nobody needs any more goes to the stage behind it, or to `rest`
  /// behind the last.
  mutating func arrange(
    _ wanted: [[Member]], _ instances: [ModuleInstance], _ rest: inout SegmentQueue, in pool: SlabPool
  ) {
    // So where a connection begins.
    guard !stages.isEmpty else {
      stages = wanted.map { Stage(members: $0) }
      return
    }
    let old = stages
    var arranged: [Stage] = []
    var origins = origins(of: wanted)
    for (members, origin) in zip(wanted, origins) {
      guard let origin else {
        arranged.append(Stage(members: members))
        continue
      }
      var stage = old[origin]
      let stay = stage.members
      // Who is new begins behind what is there.
      let tail = stage.input.count
      stage.members =
        members.map { member in
          var fresh = member
          fresh.head = tail
          fresh.handed = tail
          fresh.counted = stage.came
          return stay.first { $0.isSame(as: member) } ?? fresh
        } + stay.filter { member in !wanted.contains { $0.contains { $0.isSame(as: member) } } }
      stage.renew()
      arranged.append(stage)
    }
    for (index, var stage) in old.enumerated() where !origins.contains(index) {
      stage.members.removeAll { member in wanted.contains { $0.contains { $0.isSame(as: member) } } }
      stage.renew()
      let isOnThread = stage.members.contains { instances[$0.instance].thread != nil }
      // A module that goes on for a while stands in front of who comes. A thread that is to end is given no more, so what
      // comes now goes to those who come; it must not meet them with what it has in its hands.
      let place =
        isOnThread
        ? origins.firstIndex { $0.map { $0 > index } ?? false } ?? origins.count
        : origins.lastIndex { $0.map { $0 < index } ?? false }.map { $0 + 1 } ?? 0
      arranged.insert(stage, at: place)
      origins.insert(index, at: place)
    }
    stages = arranged
    letGo(&rest, in: pool)
  }

  /// Which of the stages each of `wanted` goes on with, in their order; nil for none. As many members as can be stay where they
  /// are, so that one that moves past others leaves those alone.
  private func origins(of wanted: [[Member]]) -> [Int?] {
    guard !stages.isEmpty, !wanted.isEmpty else { return wanted.map { _ in nil } }
    let common = wanted.map { members in
      stages.map { stage in members.count { member in stage.members.contains { $0.isSame(as: member) } } }
    }
    // How many stay of those from a wanted stage and from a present one on.
    var staying = [[Int]](repeating: [Int](repeating: 0, count: stages.count + 1), count: wanted.count + 1)
    for index in wanted.indices.reversed() {
      for stage in stages.indices.reversed() {
        let kept = common[index][stage] > 0 ? common[index][stage] + staying[index + 1][stage + 1] : 0
        staying[index][stage] = max(kept, staying[index + 1][stage], staying[index][stage + 1])
      }
    }
    var stage = 0
    return wanted.indices.map { index in
      while stage < stages.count, staying[index][stage] == staying[index][stage + 1] { stage += 1 }
      guard stage < stages.count, staying[index][stage] > staying[index + 1][stage] else { return nil }
      defer { stage += 1 }
      return stage
    }
  }

  /// The instances that ``arrange(_:_:_:in:)`` would take from their stage to another one.
  func movers(to wanted: [[Member]]) -> [Int] {
    let origins = origins(of: wanted)
    return stages.indices.flatMap { index in
      stages[index].members.filter { member in
        let place = wanted.firstIndex { $0.contains { $0.isSame(as: member) } }
        return place.map { origins[$0] != index } ?? false
      }.map(\.instance)
    }
  }

  /// Moves on what no member of a stage needs, and removes the stages without members.
  private mutating func letGo(_ rest: inout SegmentQueue, in pool: SlabPool) {
    for index in stages.indices.reversed() {
      var left = SegmentQueue()
      stages[index].release(to: &left, in: pool)
      if index + 1 < stages.count {
        stages[index + 1].takeIn(&left)
      } else {
        left.move(all: &rest)
      }
      if stages[index].members.isEmpty { stages.remove(at: index) }
    }
  }

  /// Takes a module out. What it alone held goes to the stage behind it, or to `rest` behind the last. Says whether it was
  /// there.
  mutating func remove(_ instance: Int, _ rest: inout SegmentQueue, in pool: SlabPool) -> Bool {
    var wasThere = false
    for index in stages.indices {
      let before = stages[index].members.count
      stages[index].members.removeAll { $0.instance == instance }
      guard stages[index].members.count < before else { continue }
      wasThere = true
      stages[index].renew()
    }
    if wasThere { letGo(&rest, in: pool) }
    return wasThere
  }

  /// Corrects the indices once the instance at `gone` is removed.
  mutating func renumber(without gone: Int) {
    for stage in stages.indices {
      for member in stages[stage].members.indices where stages[stage].members[member].instance > gone {
        stages[stage].members[member].instance -= 1
      }
    }
  }
}

extension Pipeline.Member {
  fileprivate func isSame(as other: Pipeline.Member) -> Bool { instance == other.instance && isPeer == other.isPeer }
}

extension [Pipeline.Member] {
  /// Takes an instance out. Says whether it was there.
  mutating func remove(_ instance: Int) -> Bool {
    let before = count
    removeAll { $0.instance == instance }
    return count < before
  }

  /// Corrects the indices once the instance at `gone` is removed.
  mutating func renumber(without gone: Int) {
    for index in indices where self[index].instance > gone { self[index].instance -= 1 }
  }
}

extension [ModuleInstance] {
  // Each is asked where it lies, by its index: an iterator copies them, and so does a closure. It is asked of each packet.

  /// Whether they had an interest in a connection, and none has any more. Where there are none, some may come.
  var isGivenUp: Bool {
    var hasOffloaded = false
    for index in indices {
      guard self[index].isOver else { return false }
      if self[index].isOffloaded { hasOffloaded = true }
    }
    return hasOffloaded
  }

  /// Whether something is to be done about one of them.
  var isRestless: Bool {
    for index in indices where !self[index].isWorking || self[index].fate != nil { return true }
    return false
  }

  /// Whether one of them edits.
  var isEditing: Bool {
    for index in indices where self[index].description.access == .edit { return true }
    return false
  }

  /// Whether one of them works at streams on a thread of its own.
  var hasThreads: Bool {
    for index in indices where self[index].exchange != nil { return true }
    return false
  }

  /// The members of a direction: its own modules, then the peers of the other one. Those stand behind, and in reverse, so that
  /// what one module encloses on the one way it encloses on the other.
  mutating func members(
    _ own: [[AttachedModule]], _ policy: Flow.FailurePolicy?, peers: [[AttachedModule]],
    _ peerPolicy: Flow.FailurePolicy?, _ direction: Direction, _ tallies: [UInt32: ModuleTally]
  ) -> [[Pipeline.Member]] {
    var list: [[Pipeline.Member]] = []
    for stage in own {
      let members = stage.compactMap { attached in
        index(of: attached, direction, policy, tallies).map { Pipeline.Member(instance: $0, isPeer: false) }
      }
      if !members.isEmpty { list.append(members) }
    }
    for stage in peers.reversed() {
      let members = stage.compactMap { attached in
        attached.description.peer
          ? index(of: attached, direction.opposite, peerPolicy, tallies)
            .map { Pipeline.Member(instance: $0, isPeer: true) }
          : nil
      }
      if !members.isEmpty { list.append(members) }
    }
    return list
  }

  /// Tells those that are new how they have come to the connection.
  ///
  /// - Parameter isWhole: whether nothing of it has gone by before.
  ///
  /// - Parameter identities: the connection in both directions.
  mutating func greet(
    isWhole: Bool, _ identities: (toServer: ConnectionIdentity, toClient: ConnectionIdentity),
    _ environment: inout Environment
  ) {
    for index in indices where !self[index].isGreeted {
      self[index].isGreeted = true
      let identity = self[index].owner == .toServer ? identities.toServer : identities.toClient
      self[index].tell(isWhole ? .opened : .joined, identity, &environment)
    }
  }

  /// Has those of `layer` and `owner` come to an end that are not among `wanted`.
  mutating func retire(
    _ layer: ModuleDescription.Layer, _ owner: Direction, except wanted: [[AttachedModule]]
  ) {
    for index in indices where self[index].owner == owner && self[index].description.layer == layer {
      guard !wanted.contains(where: { $0.contains { $0.id == self[index].id } }) else { continue }
      // Nothing is left of one that is over but its record, which goes with the module.
      self[index].state = .retiring
    }
  }

  /// Index of the instance of `attached` that belongs to `owner`; made where there is none, set anew where `pm set` has
  /// changed it; nil where it takes no more part.
  private mutating func index(
    of attached: AttachedModule, _ owner: Direction, _ onFail: Flow.FailurePolicy?, _ tallies: [UInt32: ModuleTally]
  ) -> Int? {
    if let index = firstIndex(where: { $0.id == attached.id && $0.owner == owner && $0.state != .retiring }) {
      self[index].onFail = onFail ?? .pass
      guard !self[index].isOver else { return nil }
      if self[index].revision != attached.revision { self[index].adopt(attached) }
      return index
    }
    guard let tally = tallies[attached.id] else { preconditionFailure("every module of a configuration has a tally") }
    var instance = ModuleInstance(attached, owner: owner, tally: tally)
    instance.onFail = onFail ?? .pass
    append(instance)
    return count - 1
  }
}
