import Synchronization

/// Things on their way from other threads to the engine: any number of writers and one reader, who never wait for each other.
@safe final class MailStack<Element: AnyObject & Sendable>: Sendable {
  private final class Node: Sendable {
    let element: Element
    /// The one put in before, as a reference that this node owns.
    let next: UInt

    init(_ element: Element, next: UInt) {
      self.element = element
      self.next = next
    }
  }

  /// The one put in last, 0 for none.
  private let top = Atomic<UInt>(0)

  deinit { _ = takeAll() }

  /// Puts `element` in, and says whether it is alone.
  func push(_ element: Element) -> Bool {
    while true {
      let before = top.load(ordering: .relaxed)
      let node = unsafe UInt(bitPattern: Unmanaged.passRetained(Node(element, next: before)).toOpaque())
      if top.compareExchange(expected: before, desired: node, ordering: .acquiringAndReleasing).exchanged {
        return before == 0
      }
      unsafe Unmanaged<Node>.fromOpaque(UnsafeRawPointer(bitPattern: node)!).release()
    }
  }

  var isEmpty: Bool { top.load(ordering: .acquiring) == 0 }

  /// Takes everything out, in the order in which it was put in.
  func takeAll() -> [Element] {
    var list: [Element] = []
    var next = top.exchange(0, ordering: .acquiringAndReleasing)
    while next != 0 {
      let node = unsafe Unmanaged<Node>.fromOpaque(UnsafeRawPointer(bitPattern: next)!).takeRetainedValue()
      list.append(node.element)
      next = node.next
    }
    return list.reversed()
  }
}
