import Glibc
import ModuleTesting
import Testing

@testable import Engine

/// Modules for packets and datagrams on real threads, which come and go while packets cross: none is lost, none comes twice, and each
/// flow's come in their order.
@Suite struct RealPacketThreadTests {
  private static func configuration(_ modules: [any ProcessingModule], revision: Int, from id: UInt32) -> Configuration
  {
    let attached = modules.enumerated().map { index, module in
      AttachedModule(id + UInt32(index), module, run: .thread, revision: revision)
    }
    return Configuration(flows: [
      Flow(id: 1, name: "f", match: .any, priority: 0, stages: attached.map { [$0] })
    ])
  }

  private static func datagram(_ number: Int, port: UInt16) -> TCPPacket {
    IPPacket.udp(
      from: Endpoint(address: PacketModuleTests.inside.address, port: port), to: PacketModuleTests.outside,
      PacketBytes.octets(UInt32(number)))
  }

  /// - Parameter make: the modules of a configuration, each of the same length as the one before.
  private func run(_ make: (Int) -> [any ProcessingModule]) throws {
    let threads = RealThreads()
    var settings = Settings()
    settings.threads = threads
    var box = Middlebox(settings)
    var left: [TCPPacket] = []
    var id: UInt32 = 1
    let count = 4_000
    // Threads that get no processor for a while must not be sent more than there is room for.
    var patience = 20_000
    for number in 0..<count {
      while number - left.count > 200, patience > 0 {
        patience -= 1
        usleep(500)
        left += box.collect()
      }
      if number % 97 == 0 {
        // Another parameter, others in their place, or none.
        if number % 2 == 0 { id += 10 }
        let modules = number % 5 == 4 ? [] : make(number)
        box.engine.apply(Self.configuration(modules, revision: number, from: id), at: .zero)
        left += box.takeInjections()
      }
      let outcome = box.receive(Self.datagram(number, port: number % 2 == 0 ? 5_000 : 6_000), at: .zero)
      left += [outcome.packet].compactMap { $0 } + outcome.injected + box.collect()
      if number % 50 == 0 { usleep(300) }
    }
    box.engine.apply(.empty, at: .zero)
    for _ in 0..<20_000 where left.count < count || threads.count > 0 {
      left += box.collect()
      usleep(500)
    }
    left += box.collect()
    #expect(threads.count == 0)
    for port in [5_000, 6_000] as [UInt16] {
      let numbers = left.filter { $0.headers?.ports?.source == port }.map { packet in
        packet.payload.prefix(4).reduce(0) { $0 << 8 | Int($1) }
      }
      #expect(numbers == Array(stride(from: port == 5_000 ? 0 : 1, to: count, by: 2)), "of port \(port)")
    }
    #expect(box.engine.statistics.engine.threadOverflows == 0)
    #expect(box.engine.statistics.memoryInUse < 2 << 20)
  }

  /// The same by hand, at random.
  @Test(arguments: 1...300 as ClosedRange<UInt64>) func byHand(seed: UInt64) throws {
    var random = SplitMix(seed: seed)
    let threads = ManualThreads()
    var settings = Settings()
    settings.threads = threads
    var box = Middlebox(settings)
    var left: [TCPPacket] = []
    var log: [String] = []
    var id: UInt32 = 1
    let count = 120
    var isEmpty = false
    func work(_ box: inout Middlebox, _ left: inout [TCPPacket], _ random: inout SplitMix) {
      for _ in 0..<Int.random(in: 0...2, using: &random) where threads.count > 0 {
        threads.step(Int.random(in: 0..<threads.count, using: &random))
        if random.once(in: 2) { left += box.collect() }
      }
    }
    for number in 0..<count {
      if random.once(in: 10) || number == 0 {
        if random.once(in: 2) || isEmpty { id += 10 }
        let kinds: [any ProcessingModule] = [HopLimit(9), Appender(), PacketModuleTests.HopReader()]
        let modules = random.once(in: 4) ? [] : kinds
        isEmpty = modules.isEmpty
        log.append("\(number): \(modules.count) from \(id)")
        box.engine.apply(Self.configuration(modules, revision: number, from: id), at: .zero)
        left += box.takeInjections()
      }
      let outcome = box.receive(Self.datagram(number, port: 5_000), at: .zero)
      left += [outcome.packet].compactMap { $0 } + outcome.injected
      work(&box, &left, &random)
    }
    // The modules go, or the flow with them.
    box.engine.apply(seed % 2 == 0 ? .empty : Self.configuration([], revision: count, from: id), at: .zero)
    for _ in 0..<20 {
      threads.stepAll()
      left += box.collect()
    }
    #expect(threads.count == 0)
    let numbers = left.map { packet in packet.payload.prefix(4).reduce(0) { $0 << 8 | Int($1) } }
    let bad = zip(numbers, numbers.dropFirst()).filter { $0.1 != $0.0 + 1 }.map { "\($0.0) \($0.1)" }
    #expect(bad.isEmpty, "seed \(seed): \(log)")
  }

  @Test func packets() throws {
    try run { number in [HopLimit(UInt8(number & 0x7f)), PacketModuleTests.HopReader()] }
  }

  @Test func datagrams() throws {
    try run { _ in [DatagramThreadTests.Judge(), Appender()] }
  }

  @Test func both() throws {
    try run { number in [HopLimit(UInt8(number & 0x7f)), Appender(), PacketModuleTests.HopReader()] }
  }

  /// Makes each datagram longer.
  struct Appender: ProcessingModule {
    static let description = ModuleDescription(kind: "appender", access: .edit, help: "-")
    init(_ arguments: Arguments) {}
    init() {}
    mutating func process(_ window: inout Window) {
      window.insert([1, 2, 3], at: window.count)
      window.releaseAll()
    }
  }
}
