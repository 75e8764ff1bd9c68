/// The two directions of a connection, in memory that never moves.
///
/// They are read and changed where they lie: an access is an address, not a copy and not a coroutine with a frame of its own.
@safe struct Halves: ~Copyable {
  private let place: UnsafeMutablePointer<Half>

  init(_ toServer: consuming Half, _ toClient: consuming Half) {
    unsafe place = .allocate(capacity: 2)
    unsafe place.initialize(to: toServer)
    unsafe (place + 1).initialize(to: toClient)
  }

  deinit {
    unsafe place.deinitialize(count: 2)
    unsafe place.deallocate()
  }

  subscript(direction: Direction) -> Half {
    @inline(__always) unsafeAddress { unsafe address(direction) }
    @inline(__always) unsafeMutableAddress { unsafe mutableAddress(direction) }
  }

  /// Where a direction lies.
  @unsafe @inline(__always) func address(_ direction: Direction) -> UnsafePointer<Half> {
    unsafe UnsafePointer(place + direction.rawValue)
  }

  @unsafe @inline(__always) mutating func mutableAddress(_ direction: Direction) -> UnsafeMutablePointer<Half> {
    unsafe place + direction.rawValue
  }
}
