/// The error of a reply: a code of JSON-RPC 2.0 (section 5.1), and ours below.
///
/// -32700 not JSON, -32600 no request, -32601 unknown method, -32602 wrong parameters, -32603 the daemon's fault; of
/// the range for servers: -32001 refused, -32002 not found, -32003 exists already, -32004 denied, -32005 too many
/// clients, -32006 too large.
struct RPCError: Error, Codable, Equatable {
  var code: Int
  /// ``ControlError`` as one line.
  var message: String
  /// Absent where another server speaks.
  var data: ControlError?

  private init(code: Int, _ data: ControlError) {
    self.code = code
    message = data.description
    self.data = data
  }

  init(_ error: ControlError) {
    let code =
      switch error.kind {
      case .usage: -32602
      case .refused: -32001
      case .notFound: -32002
      case .exists: -32003
      case .denied: -32004
      case .busy: -32005
      case .tooLarge: -32006
      case .fault, .unavailable: -32603
      }
    self.init(code: code, error)
  }

  static let notJSON = RPCError(
    code: -32700, ControlError(.usage, "this is not JSON", mend: "send one JSON-RPC 2.0 object a line"))

  static func invalidRequest(_ what: String) -> RPCError {
    RPCError(
      code: -32600,
      ControlError(.usage, "this is no JSON-RPC 2.0 request: \(what)", mend: "docs/protocol.md shows them"))
  }

  static func unknownMethod(_ method: String) -> RPCError {
    RPCError(
      code: -32601,
      ControlError(
        .usage, "there is no method '\(method)'",
        mend: Nearest.mend(for: method, among: Methods.byName.keys.sorted()) ?? "docs/protocol.md lists them"))
  }

  static func invalidParameters(_ what: String, of method: String) -> RPCError {
    RPCError(
      code: -32602, ControlError(.usage, what, at: method, mend: "docs/protocol.md lists the parameters"))
  }

  /// What the client tells its user.
  var controlError: ControlError { data ?? ControlError(.fault, message) }
}
