/// A value that is mostly not there: a pointer, and memory only where there is one.
@safe struct Rare<Value: ~Copyable>: ~Copyable {
  private var place: UnsafeMutablePointer<Value>?

  init() {}

  deinit {
    unsafe place?.deinitialize(count: 1)
    unsafe place?.deallocate()
  }

  var isEmpty: Bool { unsafe place == nil }

  /// The value; there must be one.
  var value: Value {
    @inline(__always) unsafeAddress {
      guard let place = unsafe place else { preconditionFailure("there is no value") }
      return unsafe UnsafePointer(place)
    }
    @inline(__always) unsafeMutableAddress {
      guard let place = unsafe place else { preconditionFailure("there is no value") }
      return unsafe place
    }
  }

  /// Puts a value there, in the place of the one before.
  mutating func put(_ value: consuming Value) {
    clear()
    let fresh = UnsafeMutablePointer<Value>.allocate(capacity: 1)
    unsafe fresh.initialize(to: value)
    unsafe place = fresh
  }

  /// Takes the value out, where there is one.
  mutating func take() -> Value? {
    guard let old = unsafe place else { return nil }
    unsafe place = nil
    let value = unsafe old.move()
    unsafe old.deallocate()
    return value
  }

  mutating func clear() { _ = take() }
}
