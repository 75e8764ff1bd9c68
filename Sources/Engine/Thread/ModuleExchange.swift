import Synchronization

/// What stands between the engine and a module that runs on a thread of its own: ``StreamExchange`` for one that works on the streams
/// of a connection, ``PacketExchange`` for one that gets packets or datagrams one by one.
///
///     engine   --- what it lends -------------->  thread: Window, the module
///     engine   <-- what has become of it ------   thread
///
/// Neither side waits for the other. The engine keeps the references to the slabs for as long as the thread may look into them.
@safe public class ModuleExchange: @unchecked Sendable {
  /// What the engine wants of the thread beside its bytes. Rare, so a lock may guard it.
  enum Order {
    case adopt(any ProcessingModule)
    case change(ConnectionChange, ConnectionIdentity)
    case retire
    case end
  }

  /// Where what the module counts and tells belongs, also when its connection is gone. For the engine.
  struct Origin {
    /// ``AttachedModule/id``
    let module: UInt32
    /// ``ConnectionInfo/id``; 0 where there is no connection.
    let connection: UInt64
    let tally: ModuleTally

    /// Takes over what a thread has counted and told that has outlived its connection, or its part in that.
    func take(_ part: ModuleReturn, _ environment: inout Environment) {
      tally.count(own: part.own)
      for content in part.requests.events {
        environment.output.add(
          ModuleEvent(time: environment.now, module: module, connection: connection, content: content))
      }
    }
  }

  final let origin: Origin
  private let orders = Mutex<[Order]>([])
  private let returns = MailStack<ModuleReturn>()
  final let hasOrders = Atomic(false)
  final let bell = Bell()
  private let post: Post
  fileprivate let isPosted = Atomic(false)

  // The thread's own.
  final var module: any ProcessingModule
  final let description: ModuleDescription
  final let arena = InsertionArena()
  /// The engine's, as it is lent.
  final let pool: SlabPool
  final let own: UnsafeMutableBufferPointer<UInt64>
  final var isRetiring = false
  /// Changes of the connection that the module is to be told of, once it has seen what came before them.
  final var changes: [(ConnectionChange, ConnectionIdentity)] = []
  final var isOver = false

  /// Where exchanges that have something to return are gathered, one for an engine.
  final class Post: Sendable {
    fileprivate let ready = MailStack<ModuleExchange>()
    fileprivate let starter: any ThreadStarter

    init(_ starter: any ThreadStarter) { self.starter = starter }

    var isEmpty: Bool { ready.isEmpty }

    /// The exchanges that have something to return.
    func takeAll() -> [ModuleExchange] {
      let list = ready.takeAll()
      for exchange in list { exchange.isPosted.store(false, ordering: .sequentiallyConsistent) }
      return list
    }

    func start(_ exchange: ModuleExchange) -> Bool { starter.start(exchange) }
  }

  init(_ module: any ProcessingModule, origin: Origin, post: Post, pool: SlabPool) {
    self.origin = origin
    self.module = module
    description = type(of: module).description
    self.post = post
    self.pool = pool.lent(arena)
    unsafe own = .allocate(capacity: description.counters.count)
    unsafe own.initialize(repeating: 0)
  }

  deinit { unsafe own.deallocate() }

  // MARK: The engine's side

  /// Has the thread look at what was said since.
  final func wake() { bell.ring() }

  final func adopt(_ prototype: any ProcessingModule) { order(.adopt(prototype)) }
  final func tell(_ change: ConnectionChange, _ identity: ConnectionIdentity) { order(.change(change, identity)) }
  /// Has the module come to an end, as soon as it may.
  final func retire() { order(.retire) }
  /// Has the thread end, whatever the module is about; it may be in the middle of a call.
  package final func end() { order(.end) }

  private func order(_ order: Order) {
    orders.withLock { $0.append(order) }
    hasOrders.store(true, ordering: .sequentiallyConsistent)
    bell.ring()
  }

  /// What the thread has returned, in order.
  final func takeReturns() -> [ModuleReturn] { returns.takeAll() }

  /// Whether ``serve()`` has done all that it was given, and waits for more; for those who give it.
  package final var isIdle: Bool {
    // Asked in this order, for the thread takes in what is new after it has ceased to wait.
    !hasWork && !hasOrders.load(ordering: .sequentiallyConsistent) && bell.isAwaited
  }

  /// Whether something was handed over that the thread has not taken in.
  var hasWork: Bool { false }

  /// Whether the module waits by itself, so that only ``serve()`` will do.
  package final var needsThread: Bool { description.needsThread }

  // MARK: The thread's side

  final func clock() -> Instant { post.starter.now() }

  /// Runs the module until it is not wanted any more. To be called once, on a thread that may wait.
  public func serve() {
    while step() { waitForWork() }
    leave()
  }

  /// Lets the module work on what has come, and says whether there is more to come. To be called on one thread at a time, not
  /// beside ``serve()``, for modules that do not need a thread; once it answers false, ``leave()`` is due.
  @discardableResult
  public func step() -> Bool { false }

  /// Says that nothing is touched any more; after ``step()`` has answered false.
  public func leave() {}

  func waitForWork() {}

  /// What was ordered since the last time.
  final func takeOrders() -> [Order] {
    guard hasOrders.exchange(false, ordering: .sequentiallyConsistent) else { return [] }
    return orders.withLock { list in
      defer { list = [] }
      return list
    }
  }

  /// Tells the module of ``changes``, and returns what it counts and tells of them.
  final func report() {
    guard !changes.isEmpty else { return }
    for (change, identity) in changes {
      var report = unsafe Report(identity, own: own, now: clock())
      module.connection(change, &report)
      let part = ModuleReturn(isPeer: false, own: takeCounts(), requests: report.requests)
      if !part.own.isEmpty || !part.requests.isEmpty { post(part) }
      if part.requests.fault != nil { isOver = true }
    }
    changes = []
  }

  final func post(_ part: ModuleReturn) {
    _ = returns.push(part)
    notify()
  }

  /// Has the engine ask what there is.
  final func notify() {
    guard !isPosted.exchange(true, ordering: .sequentiallyConsistent) else { return }
    if post.ready.push(self) { post.starter.wakeEngine() }
  }

  /// What was counted since the last time.
  final func takeCounts() -> [UInt64] {
    guard unsafe own.contains(where: { $0 != 0 }) else { return [] }
    let counts = unsafe Array(own)
    unsafe own.update(repeating: 0)
    return counts
  }
}
