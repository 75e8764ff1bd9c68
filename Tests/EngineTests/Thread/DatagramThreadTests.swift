import ModuleTesting
import Testing

@testable import Engine

/// Stream modules on datagrams of UDP, on threads that the test moves.
@Suite struct DatagramThreadTests {
  static let client = DatagramTests.client
  static let server = DatagramTests.server

  @Test(
    arguments: [
      [[ByteEditor(rule: [97: Array("long".utf8), 99: []])]],
      [[ByteEditor(rule: [97: Array("bb".utf8)])], [ByteEditor(rule: [98: Array("a".utf8)])]],
      [[DatagramTests.Resolver()]],
      [[DatagramTests.Resolver(), ByteEditor(rule: [98: []])], [ByteEditor(rule: [97: Array("xyz".utf8)])]],
    ] as [[[any ProcessingModule]]])
  func whatLeavesIsTheSame(stages: [[any ProcessingModule]]) throws {
    var twins = Twins()
    twins.configure(stages: stages)
    for text in ["xax", "abc", "bcb", "b", "c", "", "aaaa"] {
      twins.receive(DatagramTests.datagram(text))
      twins.receive(DatagramTests.datagram(text, from: Self.server, to: Self.client))
      twins.receive(DatagramTests.datagram(text, from: DatagramTests.client6, to: DatagramTests.server6))
    }
    twins.expectSameCounters()
    #expect(twins.threaded.engine.statistics.memoryInUse < 1 << 20)
  }

  @Test func datagramsKeepTheirOrderAndOthersPass() throws {
    var twins = Twins()
    twins.configure(stages: [[ByteEditor(rule: [97: Array("b".utf8)])]])
    var other = Endpoint(address: Self.client.address, port: 5_001)
    for text in ["a1", "a2", "a3"] {
      #expect(twins.threaded.receive(DatagramTests.datagram(text), at: .zero).kind == .dropped)
    }
    other.port = 5_002
    #expect(twins.threaded.receive(DatagramTests.datagram("a4", from: other), at: .zero).kind == .dropped)
    // Only the other one's thread works.
    twins.threads.step(1)
    #expect(twins.threaded.collect().map { String(decoding: $0.payload, as: UTF8.self) } == ["b4"])
    twins.threads.step(0)
    #expect(twins.threaded.collect().map { String(decoding: $0.payload, as: UTF8.self) } == ["b1", "b2", "b3"])
  }

  /// Drops, refuses, fails or lets pass, as the first octet says.
  struct Judge: ProcessingModule {
    struct Reason: Error {}
    static let description = ModuleDescription(kind: "judge", access: .read, counters: ["seen"], help: "-")
    init(_ arguments: Arguments) {}
    init() {}
    mutating func process(_ window: inout Window) throws {
      window.count(0)
      let first = window[0]
      window.releaseAll()
      switch first {
      case UInt8(ascii: "D"): window.drop()
      case UInt8(ascii: "R"): window.reset()
      case UInt8(ascii: "T"): throw Reason()
      case UInt8(ascii: "O"): window.offload()
      default: break
      }
    }
  }

  @Test(arguments: Flow.FailurePolicy.allCases) func wishesAndFailuresAreHeeded(onFail: Flow.FailurePolicy) throws {
    for last in ["T", "O", "x"] {
      var twins = Twins()
      twins.configure(stages: [[Judge()]], onFail: onFail)
      for text in ["x", "D", "R", "x", last, "y", "z"] { twins.receive(DatagramTests.datagram(text)) }
      twins.expectSameCounters()
      #expect(twins.threads.count == (last == "x" ? 1 : 0))
    }
  }

  @Test func whatWaitsWhenAModuleGoesIsLetGo() throws {
    var twins = Twins()
    twins.configure(stages: [[ByteEditor(rule: [97: Array("b".utf8)])]])
    for text in ["a1", "a2"] { _ = twins.threaded.receive(DatagramTests.datagram(text), at: .zero) }
    twins.configure(stages: [])
    #expect(twins.threaded.receive(DatagramTests.datagram("a3"), at: .zero).kind == .dropped)
    #expect(twins.settle().map { String(decoding: $0.payload, as: UTF8.self) } == ["a1", "a2", "a3"])
    #expect(twins.threads.count == 0)
    #expect(twins.threaded.engine.statistics.memoryInUse < 1 << 20)
  }

  @Test func whatWaitsWhenAnAssociationIsForgottenLeavesAsItIs() throws {
    var twins = Twins()
    twins.configure(stages: [[ByteEditor(rule: [97: Array("b".utf8)])]])
    _ = twins.threaded.receive(DatagramTests.datagram("a1"), at: .zero)
    _ = twins.threaded.advance(to: .zero + .seconds(200))
    #expect(twins.settle().map { String(decoding: $0.payload, as: UTF8.self) } == ["a1"])
    #expect(twins.threads.count == 0)
    #expect(twins.threaded.engine.statistics.memoryInUse < 1 << 20)
  }
}

extension Twins {
  fileprivate mutating func configure(
    stages: [[any ProcessingModule]], onFail: Flow.FailurePolicy = .pass, revision: Int = 0,
    run: AttachedModule.RunMode? = nil
  ) {
    for mode in [AttachedModule.RunMode.inline, .thread] {
      var id: UInt32 = 0
      let attached = stages.map { stage in
        stage.map { module in
          id += 1
          return AttachedModule(id, module, run: mode == .inline ? .inline : run ?? .thread, revision: revision)
        }
      }
      let configuration = Configuration(flows: [
        Flow(id: 1, name: "f", match: .any, priority: 0, onFail: onFail, stages: attached)
      ])
      if mode == .inline {
        inline.engine.apply(configuration, at: .zero)
      } else {
        threaded.engine.apply(configuration, at: .zero)
      }
    }
  }
}
