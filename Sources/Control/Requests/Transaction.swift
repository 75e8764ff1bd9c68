/// `apply`: changes made all together, or not at all.
public struct Transaction: Request {
  public static let method = "transaction"

  public var steps: [Step]
  /// Where the steps come from, for errors; `request` where not given.
  public var source: String?
  /// Whether the steps are only tried, and then thrown away.
  public var check: Bool?

  public init(steps: [Step], source: String? = nil, check: Bool? = nil) {
    self.steps = steps
    self.source = source
    self.check = check
  }

  public enum CodingKeys: String, CodingKey, CaseIterable {
    case source, check
    case steps = "changes"
  }

  /// One change, and the line it was written on.
  public struct Step: Sendable {
    /// From 1.
    public var line: Int
    public var change: any Change

    public init(line: Int, change: any Change) {
      self.line = line
      self.change = change
    }
  }

  public struct Reply: Codable, Equatable, Sendable {
    /// How many changes there were.
    public var changes: Int
    /// Whether they were made, and not only tried.
    public var applied: Bool
    /// The modules attached, in the order of the steps.
    public var attached: [AttachedInstance]
  }
}

extension Transaction.Step: Codable {
  enum CodingKeys: String, CodingKey, CaseIterable { case line, method, params }

  public init(from decoder: any Decoder) throws {
    try decoder.refuseKeys(otherThan: CodingKeys.self)
    let container = try decoder.container(keyedBy: CodingKeys.self)
    line = try container.decode(Int.self, forKey: .line)
    let method = try container.decode(String.self, forKey: .method)
    guard let type = Methods.changesByName[method] else {
      throw DecodingError.dataCorruptedError(
        forKey: .method, in: container,
        debugDescription: "'\(method)' is no change; a transaction takes: "
          + Methods.changes.map { $0.method }.joined(separator: ", "))
    }
    change = try type.init(strictly: container.superDecoder(forKey: .params))
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(line, forKey: .line)
    try container.encode(type(of: change).method, forKey: .method)
    try change.encode(to: container.superEncoder(forKey: .params))
  }
}
