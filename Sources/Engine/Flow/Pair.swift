/// What there is of both directions, in memory that never moves.
///
/// They are read and changed where they lie: an access is an address, not a copy and not a coroutine with a frame of its own.
@safe struct Pair<Element: ~Copyable>: ~Copyable {
  private let place: UnsafeMutablePointer<Element>

  init(_ toServer: consuming Element, _ toClient: consuming Element) {
    unsafe place = .allocate(capacity: 2)
    unsafe place.initialize(to: toServer)
    unsafe (place + 1).initialize(to: toClient)
  }

  deinit {
    unsafe place.deinitialize(count: 2)
    unsafe place.deallocate()
  }

  subscript(direction: Direction) -> Element {
    @inline(__always) unsafeAddress { unsafe address(direction) }
    @inline(__always) unsafeMutableAddress { unsafe mutableAddress(direction) }
  }

  /// Where that of a direction lies.
  @unsafe @inline(__always) func address(_ direction: Direction) -> UnsafePointer<Element> {
    unsafe UnsafePointer(place + direction.rawValue)
  }

  @unsafe @inline(__always) mutating func mutableAddress(_ direction: Direction) -> UnsafeMutablePointer<Element> {
    unsafe place + direction.rawValue
  }
}
