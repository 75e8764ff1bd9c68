import Engine
import Glibc

/// What may grow without a packet becoming dearer.
enum Growth: String, CaseIterable {
  /// Open connections, all in turn.
  case connections
  /// Flows beside that of the connection.
  case flows
  /// Modules in stages of their own. This one may cost: each looks at the octets.
  case modules
  /// Edits made before on the one connection.
  case edits

  /// CPU time of a packet, in nanoseconds, once there are so many: the median of five rounds.
  func cost(_ count: Int) -> Double {
    switch self {
    case .connections:
      var conversations = Conversations([counter])
      for number in 0..<count { conversations.open(number) }
      return Self.time(&conversations, over: count)
    case .flows:
      var conversations = Conversations([counter], others: count - 1)
      conversations.open(0)
      return Self.time(&conversations, over: 1)
    case .modules:
      var conversations = Conversations(Array(repeating: counter, count: count))
      conversations.open(0)
      return Self.time(&conversations, over: 1)
    case .edits:
      var conversations = Conversations([replaceEach])
      conversations.open(0)
      for _ in 0..<count { Self.exchange(&conversations, 0) }
      return Self.time(&conversations, over: 1)
    }
  }

  private static func exchange(_ conversations: inout Conversations, _ number: Int) {
    conversations.respond(number, text)
    conversations.request(number)
  }

  /// - Parameter connections: which take turns.
  private static func time(_ conversations: inout Conversations, over connections: Int) -> Double {
    let exchanges = 20_000
    var rounds: [Double] = []
    for round in 0..<6 {
      let before = processorTime()
      for number in 0..<exchanges { exchange(&conversations, (round * exchanges + number) % connections) }
      rounds.append((processorTime() - before) / Double(2 * exchanges))
    }
    // The first round warms up.
    return rounds.dropFirst().sorted()[2]
  }
}
