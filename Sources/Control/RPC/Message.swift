/// The identifier that a reply takes over from its request: a string, a number or null (JSON-RPC 2.0, section 4).
enum MessageID: Codable, Equatable {
  case text(String)
  case integer(Int64)
  case number(Double)
  case null

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let integer = try? container.decode(Int64.self) {
      self = .integer(integer)
    } else if let number = try? container.decode(Double.self) {
      self = .number(number)
    } else {
      self = .text(try container.decode(String.self))
    }
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .text(let text): try container.encode(text)
    case .integer(let integer): try container.encode(integer)
    case .number(let number): try container.encode(number)
    case .null: try container.encodeNil()
    }
  }
}

/// A request as it goes out.
struct OutgoingRequest<R: Request>: Encodable {
  var jsonrpc = "2.0"
  var id = MessageID.integer(1)
  var method = R.method
  var params: R
}

/// A reply as the client reads it.
struct IncomingReply<Result: Decodable>: Decodable {
  var result: Result?
  var error: RPCError?
}

/// A reply that went well.
struct OutgoingReply<Result: Encodable>: Encodable {
  var jsonrpc = "2.0"
  var id: MessageID
  var result: Result
}

/// A reply that tells of an error.
struct OutgoingError: Encodable {
  var jsonrpc = "2.0"
  var id: MessageID
  var error: RPCError
}

/// What a client that monitors is told between replies.
struct OutgoingNotification<Parameters: Encodable>: Encodable {
  var jsonrpc = "2.0"
  var method: String
  var params: Parameters
}

/// A notification as the client reads it.
struct IncomingNotification: Decodable {
  /// Nil where it is one that is not known here.
  var report: MonitorReport?

  private enum Keys: String, CodingKey { case method, params }

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Keys.self)
    switch try container.decode(String.self, forKey: .method) {
    case "event": report = .event(try container.decode(EventDescription.self, forKey: .params))
    case "lost": report = .loss(try container.decode(EventLoss.self, forKey: .params))
    default: break
    }
  }
}

/// A request as it came in: understood, or with the reason why not.
struct IncomingRequest: Decodable {
  /// Nil for a notification, which gets no reply.
  var id: MessageID?
  var content: Result<any Request, RPCError>

  private enum Keys: String, CodingKey, CaseIterable { case jsonrpc, id, method, params }

  init(from decoder: any Decoder) {
    // A request whose identifier cannot be read is answered with null (section 5).
    id = .null
    do {
      try decoder.refuseKeys(otherThan: Keys.self)
      let container = try decoder.container(keyedBy: Keys.self)
      id = container.contains(.id) ? try container.decode(MessageID.self, forKey: .id) : nil
      guard try container.decode(String.self, forKey: .jsonrpc) == "2.0" else {
        throw DecodingError.dataCorruptedError(forKey: .jsonrpc, in: container, debugDescription: "must be \"2.0\"")
      }
      let method = try container.decode(String.self, forKey: .method)
      guard let type = Methods.byName[method] else {
        content = .failure(.unknownMethod(method))
        return
      }
      content = Self.decode(type, from: container)
    } catch let error as DecodingError {
      id = id ?? .null
      content = .failure(.invalidRequest(error.clause))
    } catch {
      content = .failure(.invalidRequest("it cannot be read"))
    }
  }

  private static func decode(
    _ type: any Request.Type, from container: KeyedDecodingContainer<Keys>
  ) -> Result<any Request, RPCError> {
    do {
      guard container.contains(.params) else { return .success(try type.withoutParameters()) }
      return .success(try type.init(strictly: container.superDecoder(forKey: .params)))
    } catch let error as DecodingError {
      return .failure(.invalidParameters(error.clause, of: type.method))
    } catch {
      return .failure(.invalidParameters("they cannot be read", of: type.method))
    }
  }
}
