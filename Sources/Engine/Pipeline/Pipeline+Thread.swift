import DequeModule

/// Modules of a pipeline that work on threads of their own.
extension Pipeline {
  /// Hands a member's thread what has come, as far as it may have it.
  mutating func hand(
    _ index: Int, _ member: Int, _ isEnded: Bool, _ patience: Int64?, _ exchange: StreamExchange,
    _ instances: [ModuleInstance],
    _ now: Instant
  ) {
    let state = stages[index].members[member]
    let instance = instances[state.instance]
    let limit = max(instance.description.holdLimit, Self.threadLimit)
    var handed = state.handed
    let segments = stages[index].input.segments
    // From the end, for that is where the new ones are. What was removed in front of an octet is handed together with it.
    var place = segments.count
    var offset = stages[index].input.count
    while place > 0, offset - segments[place - 1].count >= handed {
      place -= 1
      offset -= segments[place].count
    }
    var isNew = false
    while place < segments.count, handed - state.head < limit, instance.takesMore {
      guard let next = segments[place...].firstIndex(where: { $0.count > 0 }),
        exchange.hand(segments[place...next], isPeer: state.isPeer)
      else { break }
      handed += segments[next].count
      place = next + 1
      isNew = true
    }
    stages[index].members[member].handed = handed
    if isEnded, !state.isEndHanded, instance.takesMore, handed == stages[index].input.count {
      stages[index].members[member].isEndHanded = true
      exchange.end(isPeer: state.isPeer)
      isNew = true
    }
    if handed == state.head {
      stages[index].members[member].heldSince = nil
    } else if state.heldSince == nil {
      stages[index].members[member].heldSince = now
    } else if let patience, let since = state.heldSince, now >= since + instance.holdTime * patience {
      stages[index].members[member].heldSince = now
      exchange.expire(isPeer: state.isPeer)
      isNew = true
    }
    if isNew { exchange.wake() }
  }

  /// Octets that a thread is given at a time, at the least.
  private static var threadLimit: Int { 262_144 }

  /// Octets that modules may hold, all together.
  func holdLimit(_ instances: [ModuleInstance]) -> Int {
    stages.reduce(0) { sum, stage in
      stage.members.reduce(sum) { sum, member in
        let threadLimit = instances[member.instance].exchange == nil ? 0 : Self.threadLimit
        return sum + max(instances[member.instance].description.holdLimit, threadLimit)
      }
    }
  }

  /// Takes over what the thread of an instance has returned.
  mutating func take(
    _ part: ModuleReturn, of instance: Int, _ instances: [ModuleInstance], _ environment: inout Environment
  ) {
    for index in stages.indices {
      guard
        let member = stages[index].members.firstIndex(where: {
          $0.instance == instance && $0.isPeer == part.isPeer
        })
      else { continue }
      if instances[instance].description.access == .edit {
        for segment in part.segments {
          stages[index].returned.append(returned: segment, part.inserted, in: environment.pool)
        }
        stages[index].drop(octets: part.taken.octets, numbers: part.taken.numbers, in: environment.pool)
      } else {
        stages[index].advance(member, by: part.released)
      }
      if part.isEnded { stages[index].members[member].isEnded = true }
      let state = stages[index].members[member]
      stages[index].members[member].heldSince = state.handed > state.head ? environment.now : nil
    }
  }
}
