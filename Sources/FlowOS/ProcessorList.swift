import ArgumentParser
import CLinux
import Glibc

/// Processors by number, written as the kernel writes them: `0-3,8`.
struct ProcessorList: ExpressibleByArgument, CustomStringConvertible {
  /// In the order given; at least one.
  let numbers: [Int]

  private init(numbers: [Int]) { self.numbers = numbers }

  init?(argument: String) {
    var numbers: [Int] = []
    for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
      let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { UInt16($0) }
      guard (1...2).contains(ends.count), let first = ends[0], let last = ends[ends.count - 1], first <= last,
        Int(last) < Self.limit
      else { return nil }
      numbers += (Int(first)...Int(last)).filter { !numbers.contains($0) }
    }
    self.init(numbers: numbers)
  }

  var description: String { numbers.map(String.init).joined(separator: ",") }

  /// Processors that a set of the C library can name.
  private static var limit: Int { MemoryLayout<cpu_set_t>.size * 8 }

  /// Those that the calling thread may run on.
  static var allowed: ProcessorList {
    var set = cpu_set_t()
    _ = unsafe sched_getaffinity(0, MemoryLayout<cpu_set_t>.size, &set)
    let octets = unsafe withUnsafeBytes(of: set) { unsafe Array($0) }
    return ProcessorList(numbers: (0..<limit).filter { octets[$0 / 8] & 1 << UInt8($0 % 8) != 0 })
  }

  /// The one of the thread that is number `index` of several.
  func one(for index: Int) -> ProcessorList { ProcessorList(numbers: [numbers[index % numbers.count]]) }

  /// Has the calling thread, and those that it makes, run on these only.
  ///
  /// - Returns: whether the kernel lets it.
  @discardableResult
  func bind() -> Bool {
    var set = cpu_set_t()
    unsafe withUnsafeMutableBytes(of: &set) { octets in
      for number in numbers { unsafe octets[number / 8] |= 1 << UInt8(number % 8) }
    }
    return unsafe sched_setaffinity(0, MemoryLayout<cpu_set_t>.size, &set) == 0
  }
}
