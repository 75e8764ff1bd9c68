import Engine

/// The addresses and ports that sources are translated to.
struct AddressPool: Sendable, Equatable {
  /// Addresses that a pool may have.
  static let most = 1_024

  let first: IPAddress
  let count: Int
  let ports: ClosedRange<UInt16>

  var isIPv6: Bool { !first.isIPv4 }

  /// - Parameters:
  ///   - text: `ADDRESS` or `FIRST-LAST`.
  ///   - ports: `FIRST-LAST`, from 1 on.
  init(_ text: String, ports: String) throws(ArgumentError) {
    let ends = text.split(separator: "-", omittingEmptySubsequences: false).map { IPAddress(String($0)) }
    guard (1...2).contains(ends.count), let first = ends[0], let last = ends[ends.count - 1],
      first.isIPv4 == last.isIPv4, first.high == last.high, first.low <= last.low
    else { throw ArgumentError("parameter 'source' takes ADDRESS or FIRST-LAST, not '\(text)'") }
    for end in [first, last] where !end.isHost {
      throw ArgumentError("parameter 'source' takes addresses of hosts, and '\(end)' can be none's")
    }
    guard last.low - first.low < UInt64(Self.most) else {
      throw ArgumentError("parameter 'source' takes \(Self.most) addresses at the most")
    }
    let numbers = ports.split(separator: "-", omittingEmptySubsequences: false).map { UInt16($0) }
    guard numbers.count == 2, let low = numbers[0], let high = numbers[1], low > 0, low <= high else {
      throw ArgumentError("parameter 'ports' takes FIRST-LAST, from 1 to 65535, not '\(ports)'")
    }
    self.first = first
    count = Int(last.low - first.low) + 1
    self.ports = low...high
  }

  func contains(_ address: IPAddress) -> Bool {
    address.high == first.high && address.low >= first.low && address.low - first.low < UInt64(count)
  }

  /// The addresses, in the order in which a source tries them: one source has one address as long as that has ports left
  /// (RFC 4787 REQ-2).
  func address(_ attempt: Int, for source: IPAddress) -> IPAddress {
    let start = (source.high ^ source.low) % UInt64(count)
    return IPAddress(high: first.high, low: first.low + (start + UInt64(attempt)) % UInt64(count))
  }
}

/// The ports of one address that are free.
struct FreePorts: Sendable {
  private var free: ContiguousArray<UInt16>
  /// Where each port of the range stands in `free`; -1 where it is taken.
  private var places: ContiguousArray<Int32>
  private let range: ClosedRange<UInt16>

  init(_ range: ClosedRange<UInt16>) {
    self.range = range
    free = ContiguousArray(range)
    places = ContiguousArray(free.indices.map(Int32.init))
  }

  /// Takes `wanted` where it is free, else any: which one nobody can guess (RFC 6056). Nil where none is left.
  mutating func take(_ wanted: UInt16) -> UInt16? {
    guard !free.isEmpty else { return nil }
    let place = range.contains(wanted) ? Int(places[Int(wanted - range.lowerBound)]) : -1
    return remove(at: place >= 0 ? place : Int.random(in: free.indices))
  }

  private mutating func remove(at place: Int) -> UInt16 {
    let port = free[place]
    let last = free.removeLast()
    if place < free.count {
      free[place] = last
      places[Int(last - range.lowerBound)] = Int32(place)
    }
    places[Int(port - range.lowerBound)] = -1
    return port
  }

  mutating func giveBack(_ port: UInt16) {
    guard range.contains(port), places[Int(port - range.lowerBound)] < 0 else { return }
    places[Int(port - range.lowerBound)] = Int32(free.count)
    free.append(port)
  }
}
