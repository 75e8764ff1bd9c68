/// Answers lines of JSON-RPC with lines of JSON-RPC, by way of the controller.
public struct Responder {
  private let controller: Controller

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

  /// The reply to `line`, which ends with a newline, or nil where only notifications were sent.
  public func answer(_ line: [UInt8]) -> [UInt8]? {
    let message: Message
    do {
      message = try JSON.decode(Message.self, from: line)
    } catch {
      return Self.encode(.notJSON, id: .null) + [UInt8(ascii: "\n")]
    }
    switch message {
    case .single(let request):
      return answer(request).map { $0 + [UInt8(ascii: "\n")] }
    case .batch(let requests):
      guard (1...Self.maximumBatch).contains(requests.count) else {
        return Self.encode(
          .invalidRequest("a batch holds 1 to \(Self.maximumBatch) requests"), id: .null) + [UInt8(ascii: "\n")]
      }
      let replies = requests.compactMap(answer)
      guard !replies.isEmpty else { return nil }
      return [UInt8(ascii: "[")] + replies.joined(separator: [UInt8(ascii: ",")]) + Array("]\n".utf8)
    }
  }

  /// The line that tells of an error outside any request.
  static func line(_ error: ControlError) -> [UInt8] {
    encode(RPCError(error), id: .null) + [UInt8(ascii: "\n")]
  }

  private func answer(_ request: IncomingRequest) -> [UInt8]? {
    switch request.content {
    case .failure(let error): return request.id.map { Self.encode(error, id: $0) }
    case .success(let content): return perform(content, id: request.id)
    }
  }

  private func perform(_ request: some Request, id: MessageID?) -> [UInt8]? {
    do {
      let result = try request.perform(on: controller)
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
