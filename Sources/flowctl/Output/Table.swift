/// Rows of cells under a head, in aligned columns.
struct Table {
  /// A column's title, and the side on which its cells are flush.
  struct Column {
    let title: String
    let isNumber: Bool

    /// Words, flush left.
    static func text(_ title: String) -> Column { Column(title: title, isNumber: false) }
    /// Figures, flush right.
    static func number(_ title: String) -> Column { Column(title: title, isNumber: true) }
  }

  let columns: [Column]
  var rows: [[String]] = []

  init(_ columns: Column...) { self.columns = columns }

  /// The head and all rows, each line with its newline.
  var text: String {
    let lines = [columns.map(\.title)] + rows
    let widths = columns.indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
    return lines.map { cells in
      var line = ""
      for (index, cell) in cells.enumerated() {
        let space = String(repeating: " ", count: widths[index] - cell.count)
        line += (index == 0 ? "" : "  ") + (columns[index].isNumber ? space + cell : cell + space)
      }
      while line.last == " " { line.removeLast() }
      return line + "\n"
    }.joined()
  }
}
