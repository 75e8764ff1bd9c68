import Engine
import Glibc

/// What may grow without a packet becoming dearer.
enum Growth: String, CaseIterable {
  /// Open connections, all in turn.
  case connections
  /// Flows with the same match keys beside those of all work, among which that of each packet is looked for.
  case flows
  /// Modules in stages of their own. This one may cost: each reads the octets.
  case modules
  /// Edits made before on the one connection.
  case edits
  /// MiB transferred before on the one connection.
  case transferred

  /// CPU time of a packet, in nanoseconds, once there are so many: the median of five rounds.
  func cost(_ count: Int) -> Double {
    switch self {
    case .connections:
      var conversations = Conversations([counter])
      for number in 0..<count { conversations.open(number) }
      return Self.time(&conversations, over: count)
    case .flows:
      var conversations = Conversations([counter], others: count, shapes: 1)
      return Self.time(&conversations, over: 1) { conversations, _ in
        // Of connections that no flow wants: each is classified.
        conversations.stray(0)
        conversations.stray(1)
      }
    case .modules:
      var conversations = Conversations(Array(repeating: reader, count: count))
      conversations.open(0)
      return Self.time(&conversations, over: 1)
    case .edits:
      var conversations = Conversations([replaceEach])
      conversations.open(0)
      for _ in 0..<count { Self.exchange(&conversations, 0) }
      return Self.time(&conversations, over: 1)
    case .transferred:
      var conversations = Conversations([counter])
      conversations.open(0)
      for _ in 0..<(count << 20) / superPacket.count {
        conversations.respond(0, superPacket)
        conversations.request(0)
      }
      return Self.time(&conversations, over: 1)
    }
  }

  private static func exchange(_ conversations: inout Conversations, _ number: Int) {
    conversations.respond(number, text)
    conversations.request(number)
  }

  /// - Parameters:
  ///   - connections: which take turns.
  ///   - work: two packets of one of them.
  private static func time(
    _ conversations: inout Conversations, over connections: Int,
    _ work: (inout Conversations, Int) -> Void = Growth.exchange
  ) -> Double {
    let exchanges = 20_000
    var rounds: [Double] = []
    for round in 0..<6 {
      let before = processorTime()
      for number in 0..<exchanges { work(&conversations, (round * exchanges + number) % connections) }
      rounds.append((processorTime() - before) / Double(2 * exchanges))
    }
    // The first round warms up.
    return rounds.dropFirst().sorted()[2]
  }
}
