/// Amounts as people read them.
enum Units {
  /// Octets with one decimal from KiB on: `512 B`, `1.5 MiB`.
  static func octets(_ count: UInt64) -> String {
    var scaled = Double(count)
    var unit = "B"
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] where scaled >= 1024 {
      scaled /= 1024
      unit = next
    }
    return unit == "B" ? "\(count) B" : "\(tenths(scaled)) \(unit)"
  }

  static func octets(_ count: Int) -> String { octets(UInt64(clamping: count)) }

  /// A time with two units at the most: `0.3s`, `5m07s`, `2h03m`, `4d01h`.
  static func time(milliseconds: Int64) -> String {
    let seconds = milliseconds / 1000
    switch seconds {
    case ..<60: return "\(tenths(Double(milliseconds) / 1000))s"
    case ..<3600: return "\(seconds / 60)m\(twoDigits(seconds % 60))s"
    case ..<86_400: return "\(seconds / 3600)h\(twoDigits(seconds / 60 % 60))m"
    default: return "\(seconds / 86_400)d\(twoDigits(seconds / 3600 % 24))h"
    }
  }

  private static func tenths(_ number: Double) -> String {
    let tenths = Int64(number * 10)
    return "\(tenths / 10).\(tenths % 10)"
  }

  private static func twoDigits(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
}
