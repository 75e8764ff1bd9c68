/// Why a command failed, in the three parts that a user needs: what was wrong, where, and the mend.
public struct ControlError: Error, Codable, Equatable, Sendable {
  /// The class of a failure; scripts branch on it, and `flowctl` exits by it.
  public enum Kind: String, Codable, Sendable, CaseIterable {
    /// The command itself is wrong: its words, its parameters, its JSON.
    case usage
    /// Understood, but not possible.
    case refused
    /// A flow, a module or a kind that is not there.
    case notFound
    /// A name that is taken.
    case exists
    /// The caller may not speak to the daemon.
    case denied
    /// Nobody listens at the socket, or no answer came in time.
    case unavailable
    /// The daemon serves as many clients as it may.
    case busy
    /// A request larger than the daemon takes.
    case tooLarge
    /// The daemon's own fault.
    case fault
  }

  public var kind: Kind
  /// What was wrong, as one clause.
  public var what: String
  /// Where: a file and line, or the flow or module.
  public var place: String?
  /// What would put it right.
  public var mend: String?

  public init(_ kind: Kind, _ what: String, at place: String? = nil, mend: String? = nil) {
    self.kind = kind
    self.what = what
    self.place = place
    self.mend = mend
  }

  public enum CodingKeys: String, CodingKey {
    case kind, what, mend
    case place = "where"
  }

  /// The same error, known to have come from `place`.
  public func found(at place: String) -> ControlError {
    var error = self
    error.place = self.place.map { "\(place): \($0)" } ?? place
    return error
  }

  /// What a process that fails with this error exits with: 1 refused, 2 usage, 3 not found, 4 exists already, 5 no
  /// daemon.
  public var exitCode: Int32 {
    switch kind {
    case .refused, .denied, .busy, .tooLarge, .fault: 1
    case .usage: 2
    case .notFound: 3
    case .exists: 4
    case .unavailable: 5
    }
  }
}

extension ControlError: CustomStringConvertible {
  /// `where: what (mend)`, on one line.
  public var description: String {
    (place.map { "\($0): " } ?? "") + what + (mend.map { " (\($0))" } ?? "")
  }
}
