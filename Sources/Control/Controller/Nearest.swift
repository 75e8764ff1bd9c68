import Engine

/// Suggests what a user may have meant.
enum Nearest {
  /// The name among `names` that is fewest edits away from `text`, where that is near enough to be meant.
  ///
  /// Near enough is a third of the length, and one at least; beyond 64 octets nothing is.
  static func name(to text: String, among names: some Sequence<String>) -> String? {
    guard text.utf8.count <= 64 else { return nil }
    let limit = max(1, text.count / 3)
    var best: (name: String, distance: Int)?
    for name in names {
      let distance = EditDistance.between(Array(text.lowercased()), Array(name.lowercased()))
      if distance <= limit, distance < best?.distance ?? .max { best = (name, distance) }
    }
    return best?.name
  }

  /// "did you mean 'x'?", where something is near.
  static func mend(for text: String, among names: some Sequence<String>) -> String? {
    name(to: text, among: names).map { "did you mean '\($0)'?" }
  }
}
