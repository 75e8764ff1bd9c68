/// What the connections of one engine work with: the time, the buffers, and where results go.
struct Environment: ~Copyable {
  let settings: Settings
  let pool: SlabPool
  /// The time of the packet or timer at work.
  var now = Instant.zero
  var output = Output()
  var counters = EngineCounters()
  var spareQueues = SpareQueues()
  /// Where modules on threads of their own return what they have done.
  let post: ModuleExchange.Post?
  /// Exchanges whose threads have not ended yet.
  var exchanges: [ObjectIdentifier: ModuleExchange] = [:]
  /// Identification of the next IPv4 packet made here (RFC 6864: any value serves where DF is set).
  private var identification: UInt16 = 0

  init(settings: Settings) {
    self.settings = settings
    pool = SlabPool(limit: settings.memoryLimit)
    post = settings.threads.map { ModuleExchange.Post($0) }
  }

  deinit {
    // A thread that is still at work may look into the slabs; then they stay for as long as the program does.
    if exchanges.isEmpty { pool.destroy() }
  }

  mutating func nextIdentification() -> UInt16 {
    identification &+= 1
    return identification
  }
}
