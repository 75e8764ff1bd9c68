/// Answers lines of JSON-RPC with lines of JSON-RPC, by way of the controller, and tells of events.
public struct Responder {
  private let controller: Controller

  /// What comes of a line.
  struct Answer {
    /// The reply, which ends with a newline, or nil where only notifications were sent.
    var line: [UInt8]?
    /// The events that the client asks for from now on.
    var monitor: Monitor?
  }

  /// Events as lines that end with a newline.
  struct News {
    var events: [(description: EventDescription, line: [UInt8])]
    /// How many have been lost on the way here.
    var lost: Int
  }

  public init(_ controller: Controller) { self.controller = controller }

  /// The most requests that a batch may hold: a bound on the reply to one line.
  static let maximumBatch = 1000

  /// A request or a batch: what one line may hold.
  private enum Message: Decodable {
    case single(IncomingRequest)
    case batch([IncomingRequest])

    init(from decoder: any Decoder) throws {
      if var container = try? decoder.unkeyedContainer() {
        var requests: [IncomingRequest] = []
        // One more than is allowed is enough to know.
        while !container.isAtEnd, requests.count <= Responder.maximumBatch {
          requests.append(IncomingRequest(from: try container.superDecoder()))
        }
        self = .batch(requests)
      } else {
        self = .single(IncomingRequest(from: decoder))
      }
    }
  }

  /// Does what `line` asks for.
  func answer(_ line: [UInt8]) -> Answer {
    let message: Message
    do {
      message = try JSON.decode(Message.self, from: line)
    } catch {
      return Answer(line: Self.encode(.notJSON, id: .null) + [UInt8(ascii: "\n")])
    }
    var answer = Answer()
    switch message {
    case .single(let request):
      answer.line = reply(to: request, &answer.monitor).map { $0 + [UInt8(ascii: "\n")] }
    case .batch(let requests):
      guard (1...Self.maximumBatch).contains(requests.count) else {
        answer.line =
          Self.encode(.invalidRequest("a batch holds 1 to \(Self.maximumBatch) requests"), id: .null)
          + [UInt8(ascii: "\n")]
        break
      }
      let replies = requests.compactMap { reply(to: $0, &answer.monitor) }
      guard !replies.isEmpty else { break }
      answer.line = [UInt8(ascii: "[")] + replies.joined(separator: [UInt8(ascii: ",")]) + Array("]\n".utf8)
    }
    return answer
  }

  /// Where events arrive.
  var feed: EventFeed { controller.dataPlane.events }

  /// The events that have come since the last time.
  func takeNews() -> News {
    let (events, lost) = controller.takeEvents()
    return News(events: events.map { ($0, Self.line("event", $0)) }, lost: lost)
  }

  /// The line that tells of events that were lost.
  static func line(_ loss: EventLoss) -> [UInt8] { line("lost", loss) }

  /// The line that tells of an error outside any request.
  static func line(_ error: ControlError) -> [UInt8] {
    encode(RPCError(error), id: .null) + [UInt8(ascii: "\n")]
  }

  private static func line(_ method: String, _ parameters: some Encodable) -> [UInt8] {
    do {
      return try JSON.encode(OutgoingNotification(method: method, params: parameters)) + [UInt8(ascii: "\n")]
    } catch {
      // Only a number that JSON cannot write fails, and there is none.
      preconditionFailure("a notification cannot be written as JSON: \(error)")
    }
  }

  private func reply(to request: IncomingRequest, _ monitor: inout Monitor?) -> [UInt8]? {
    switch request.content {
    case .failure(let error): return request.id.map { Self.encode(error, id: $0) }
    case .success(let content): return perform(content, id: request.id, &monitor)
    }
  }

  private func perform(_ request: some Request, id: MessageID?, _ monitor: inout Monitor?) -> [UInt8]? {
    do {
      let result = try request.perform(on: controller)
      if let request = request as? Monitor { monitor = request }
      guard let id else { return nil }
      return try JSON.encode(OutgoingReply(id: id, result: result))
    } catch {
      return id.map { Self.encode(RPCError(error), id: $0) }
    }
  }

  private static func encode(_ error: RPCError, id: MessageID) -> [UInt8] {
    do {
      return try JSON.encode(OutgoingError(id: id, error: error))
    } catch {
      // Only a number that JSON cannot write fails, and an identifier came as JSON.
      preconditionFailure("an error cannot be written as JSON: \(error)")
    }
  }
}
