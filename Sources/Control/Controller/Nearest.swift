/// Suggests what a user may have meant.
enum Nearest {
  /// The name among `names` that is fewest edits away from `text`, where that is near enough to be meant.
  ///
  /// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours count one each. Near enough
  /// is a third of the length, and one at least; beyond 64 octets nothing is.
  static func name(to text: String, among names: some Sequence<String>) -> String? {
    guard text.utf8.count <= 64 else { return nil }
    let limit = max(1, text.count / 3)
    var best: (name: String, distance: Int)?
    for name in names {
      let distance = Self.distance(Array(text.lowercased()), Array(name.lowercased()))
      if distance <= limit, distance < best?.distance ?? .max { best = (name, distance) }
    }
    return best?.name
  }

  /// "did you mean 'x'?", where something is near.
  static func mend(for text: String, among names: some Sequence<String>) -> String? {
    name(to: text, among: names).map { "did you mean '\($0)'?" }
  }

  private static func distance(_ left: [Character], _ right: [Character]) -> Int {
    var beforeLast = [Int](repeating: 0, count: right.count + 1)
    var last = Array(0...right.count)
    for row in left.indices {
      var current = [row + 1]
      for column in right.indices {
        let substituted = last[column] + (left[row] == right[column] ? 0 : 1)
        var cost = min(last[column + 1] + 1, current[column] + 1, substituted)
        if row > 0, column > 0, left[row] == right[column - 1], left[row - 1] == right[column] {
          cost = min(cost, beforeLast[column - 1] + 1)
        }
        current.append(cost)
      }
      (beforeLast, last) = (last, current)
    }
    return last[right.count]
  }
}
