/// What the connections of one engine work with: the time, the buffers, and where results go.
@safe struct Environment: ~Copyable {
  let settings: Settings
  let pool: SlabPool
  /// The time of the packet or timer at work.
  var now = Instant.zero
  /// Where ``output`` lies: at one place, so that it is reached without a coroutine, by who drives the engine too.
  private let outputPlace: UnsafeMutablePointer<Output>
  var counters = EngineCounters()
  var spareQueues = SpareQueues()
  /// Where modules on threads of their own return what they have done.
  let post: ModuleExchange.Post?
  /// Exchanges whose threads have not ended yet.
  var exchanges: [ObjectIdentifier: ModuleExchange] = [:]
  /// Whether modules look at the packets that are injected. Those are then as they leave, and not to be cut any more.
  var showsInjections = false
  /// Identification of the next IPv4 packet made here (RFC 6864: any value serves where DF is set).
  private var identification: UInt16 = 0

  init(settings: Settings) {
    self.settings = settings
    unsafe outputPlace = .allocate(capacity: 1)
    unsafe outputPlace.initialize(to: Output())
    pool = SlabPool(limit: settings.memoryLimit)
    post = settings.threads.map { ModuleExchange.Post($0) }
  }

  deinit {
    unsafe outputPlace.deinitialize(count: 1)
    unsafe outputPlace.deallocate()
    // A thread that is still at work may look into the slabs; then they stay for as long as the program does.
    if exchanges.isEmpty { pool.destroy() }
  }

  var output: Output {
    @inline(__always) unsafeAddress { unsafe outputAddress }
    @inline(__always) unsafeMutableAddress { unsafe outputPlace }
  }

  @unsafe var outputAddress: UnsafePointer<Output> { unsafe UnsafePointer(outputPlace) }

  /// The identification of a packet that becomes `count` packets with consecutive ones.
  mutating func nextIdentification(count: Int = 1) -> UInt16 {
    defer { identification &+= UInt16(truncatingIfNeeded: count) }
    return identification &+ 1
  }
}
