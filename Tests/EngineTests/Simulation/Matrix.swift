import Foundation
import Testing

@testable import Engine

/// The cells of the matrix: what is edited, over which links, with which options, and which way.
///
/// What a cell does not say (windows, segment sizes, initial numbers, who closes first, super-packets) its seed decides.
enum Matrix {
  struct Cell: Sendable, CustomTestStringConvertible {
    var isIPv6: Bool
    var edit: String
    var link: String
    var usesTimestamps: Bool
    var usesSACK: Bool
    var way: String

    /// As `FLOWOS_CELL` has it.
    var name: String {
      [
        isIPv6 ? "ipv6" : "ipv4", edit, link, usesTimestamps ? "ts" : "nots", usesSACK ? "sack" : "nosack", way,
      ].joined(separator: "/")
    }
    var testDescription: String { name }

    /// The command that runs the same again.
    func replay(_ seed: UInt64) -> Comment {
      "replay: FLOWOS_CELL='\(name)' FLOWOS_SEED=\(seed) swift test --filter Matrix"
    }
  }

  static let edits: [(name: String, rule: [UInt8: [UInt8]])] = [
    ("none", [:]),
    ("shrink", SimulationTests.shrink),
    ("grow", SimulationTests.grow),
    ("delete", SimulationTests.everything),
    ("insert", [0: [0, 200, 201], 3: Array("inserted".utf8) + [3], 5: [250, 5, 251]]),
    ("mixed", SimulationTests.mixed),
  ]

  static let links: [(name: String, link: Simulation.Link)] = [
    ("clean", .clean),
    ("loss1", Simulation.Link(loss: 100)),
    ("loss5", Simulation.Link(loss: 20)),
    ("reorder", Simulation.Link(reordering: 5)),
    ("duplicate", Simulation.Link(duplication: 10)),
    ("all", Simulation.Link(loss: 50, duplication: 30, reordering: 10, corruption: 30)),
  ]

  static let cells: [Cell] = {
    var list: [Cell] = []
    for isIPv6 in [false, true] {
      for edit in edits {
        for link in links {
          for usesTimestamps in [true, false] {
            for usesSACK in [true, false] {
              for way in ["upload", "download", "both"] {
                list.append(
                  Cell(
                    isIPv6: isIPv6, edit: edit.name, link: link.name, usesTimestamps: usesTimestamps,
                    usesSACK: usesSACK, way: way))
              }
            }
          }
        }
      }
    }
    return list
  }()

  private static let environment = ProcessInfo.processInfo.environment

  /// The cells to run: all, or the one that `FLOWOS_CELL` names.
  static var chosen: [Cell] { environment["FLOWOS_CELL"].map { name in cells.filter { $0.name == name } } ?? cells }

  /// As `FLOWOS_SEEDS` has it.
  static var seedCount: UInt64? { environment["FLOWOS_SEEDS"].flatMap(UInt64.init) }

  /// As `FLOWOS_SEED` has it, or 1.
  static var firstSeed: UInt64 { environment["FLOWOS_SEED"].flatMap(UInt64.init) ?? 1 }

  /// The seeds to run the cell with: `FLOWOS_SEED` alone, or `FLOWOS_SEEDS` many from there on; without either the first two,
  /// which are small, and for some cells two more.
  static func seeds(_ cell: Cell) -> ClosedRange<UInt64> {
    let first = environment["FLOWOS_SEED"].flatMap(UInt64.init)
    let count = seedCount
    guard first != nil || count != nil else {
      return 1...(cells.firstIndex { $0.name == cell.name }!.isMultiple(of: 7) ? 4 : 2)
    }
    return (first ?? 1)...(first ?? 1) + max(1, count ?? 1) - 1
  }
}
