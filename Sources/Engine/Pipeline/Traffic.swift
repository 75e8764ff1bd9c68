/// What has come of one direction to a module that gets packets or datagrams one by one.
struct Traffic {
  var packets: UInt64 = 0
  /// Octets of those, as far as they are shown.
  var arrived: UInt64 = 0
  /// Octets of those that it has let go on, as they have left it.
  var released: UInt64 = 0

  mutating func note(arrival octets: Int) {
    packets += 1
    arrived += UInt64(octets)
  }
}
