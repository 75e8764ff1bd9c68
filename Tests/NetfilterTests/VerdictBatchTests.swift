import CNetfilter
import Glibc
import ModuleTesting
import SystemPackage
import Testing

@testable import Engine
@testable import Netfilter

/// What a verdict comes to for one packet.
private struct Answer: Equatable {
  var verdict: CInt
  var mark: UInt32?
  var octets: [UInt8]?
}

/// A queue as the kernel has it: packets wait in the order of their identifiers, until messages speak of them.
private struct KernelQueue: ~Copyable {
  /// The engine's end, and that of the kernel.
  let descriptors: (CInt, CInt)
  var waiting: [UInt32]
  var answers: [UInt32: Answer] = [:]
  var messages = 0
  /// Messages about packets that did not wait.
  var strays = 0

  init(_ waiting: [UInt32], sendBuffer: CInt = 1 << 20) throws {
    var pair: [CInt] = [0, 0]
    try #require(unsafe socketpair(AF_UNIX, CInt(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue), 0, &pair) == 0)
    descriptors = (pair[0], pair[1])
    self.waiting = waiting
    var size = sendBuffer
    unsafe setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<CInt>.size))
  }

  deinit {
    close(descriptors.0)
    close(descriptors.1)
  }

  /// Does what has been sent.
  mutating func work() {
    var datagram = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let count = unsafe recv(descriptors.1, &datagram, datagram.count, 0)
      guard count > 0 else { return }
      var rest = datagram[..<count]
      while !rest.isEmpty {
        let length = Int(rest.number(at: 0, UInt32.self))
        message(Array(rest.prefix(length)))
        rest = rest.dropFirst((length + 3) & ~3)
      }
    }
  }

  private mutating func message(_ octets: [UInt8]) {
    messages += 1
    let message = octets[...]
    let kind = CInt(message.number(at: 4, UInt16.self) & 0xff)
    let answer = Self.answer(message)
    let id = UInt32(bigEndian: message.number(at: 28, UInt32.self))
    let isAbout: (UInt32) -> Bool =
      kind == CInt(NFQNL_MSG_VERDICT_BATCH.rawValue) ? { Int32(bitPattern: $0 &- id) <= 0 } : { $0 == id }
    let meant = waiting.filter(isAbout)
    if meant.isEmpty { strays += 1 }
    for id in meant { answers[id] = answer }
    waiting.removeAll(where: isAbout)
  }

  private static func answer(_ message: ArraySlice<UInt8>) -> Answer {
    var answer = Answer(verdict: CInt(UInt32(bigEndian: message.number(at: 24, UInt32.self))))
    var attributes = message.dropFirst(32)
    while attributes.count >= 4 {
      let length = Int(attributes.number(at: 0, UInt16.self))
      let value = attributes.prefix(length).dropFirst(4)
      switch UInt32(attributes.number(at: 2, UInt16.self)) {
      case NFQA_MARK.rawValue: answer.mark = UInt32(bigEndian: value.number(at: 0, UInt32.self))
      case NFQA_PAYLOAD.rawValue: answer.octets = Array(value)
      default: Issue.record("an attribute that is not known")
      }
      attributes = attributes.dropFirst((length + 3) & ~3)
    }
    return answer
  }
}

extension ArraySlice<UInt8> {
  fileprivate func number<Number: FixedWidthInteger & BitwiseCopyable>(at offset: Int, _: Number.Type) -> Number {
    unsafe withUnsafeBytes { unsafe $0.loadUnaligned(fromByteOffset: offset, as: Number.self) }
  }
}

struct VerdictBatchTests {
  private func batch(_ kernel: borrowing KernelQueue) -> VerdictBatch {
    VerdictBatch(descriptor: kernel.descriptors.0, queue: 7, limit: 256 << 10)
  }

  @Test func packetsThatPassAsTheyAreHaveOneMessage() throws {
    var kernel = try KernelQueue(Array(1...32))
    var batch = batch(kernel)
    for id: UInt32 in 1...32 { unsafe batch.append(.accept(mark: nil), for: id, pieces: []) }
    #expect(batch.count == 32)
    batch.flush()
    kernel.work()
    #expect(kernel.messages == 1)
    #expect(kernel.waiting.isEmpty)
    #expect(kernel.answers.values.allSatisfy { $0 == Answer(verdict: NF_ACCEPT) })
  }

  @Test func everyPacketGetsItsOwnVerdict() throws {
    var random = SplitMix(seed: 1)
    // The identifiers come around.
    let first = UInt32.max - 1_000
    var kernel = try KernelQueue((0..<2_000).map { first &+ $0 })
    var batch = batch(kernel)
    var wanted: [UInt32: Answer] = [:]
    let octets: [UInt8] = Array(0...255)
    unsafe octets.withUnsafeBytes { octets in
      for number in 0..<UInt32(2_000) {
        let id = first &+ number
        switch Int.random(in: 0..<10, using: &random) {
        case 0..<5:
          unsafe batch.append(.accept(mark: nil), for: id, pieces: [])
          wanted[id] = Answer(verdict: NF_ACCEPT)
        case 5..<7:
          unsafe batch.append(.drop, for: id, pieces: [])
          wanted[id] = Answer(verdict: NF_DROP)
        case 7:
          unsafe batch.append(.accept(mark: number), for: id, pieces: [])
          wanted[id] = Answer(verdict: NF_ACCEPT, mark: number)
        default:
          let count = Int.random(in: 1...256, using: &random)
          let packet = unsafe UnsafeRawBufferPointer(rebasing: octets[..<count])
          let mark = Bool.random(using: &random) ? number : nil
          unsafe batch.append(
            .mangle(OutgoingPacket(pieces: 0..<1, length: count), mark: mark), for: id, pieces: [packet])
          wanted[id] = unsafe Answer(verdict: NF_ACCEPT, mark: mark, octets: Array(packet))
        }
        if Int.random(in: 0..<20, using: &random) == 0 {
          batch.flush()
          kernel.work()
          #expect(kernel.waiting.first == (number == 1_999 ? nil : id &+ 1))
        }
      }
    }
    batch.flush()
    kernel.work()
    #expect(kernel.answers == wanted)
    #expect(kernel.waiting.isEmpty)
    #expect(kernel.strays == 0)
    #expect(batch.failures.total == 0)
  }

  /// Of a packet whose verdict found no memory, nor did its drop, none behind it may speak: it must not slip past an edit.
  @Test func whatCouldNotBeDroppedIsDroppedLaterAndPassesNever() throws {
    var kernel = try KernelQueue(Array(1...40), sendBuffer: 0)
    // Nobody reads: there is no room before long.
    let filler = [UInt8](repeating: 0, count: 16)
    while unsafe send(kernel.descriptors.0, filler, filler.count, CInt(MSG_DONTWAIT)) > 0 {}
    var batch = batch(kernel)
    for id: UInt32 in 1...20 { unsafe batch.append(.accept(mark: nil), for: id, pieces: []) }
    batch.flush()
    #expect(batch.failures[.wouldBlock] == 20)
    for id: UInt32 in 21...40 { unsafe batch.append(.accept(mark: nil), for: id, pieces: []) }
    var octets = [UInt8](repeating: 0, count: 64)
    while unsafe recv(kernel.descriptors.1, &octets, octets.count, 0) == filler.count {}
    var turns = 0
    while turns == 0 || (!kernel.waiting.isEmpty && turns < 100) {
      batch.flush()
      kernel.work()
      turns += 1
    }
    #expect(kernel.waiting.isEmpty)
    #expect((1...20).allSatisfy { kernel.answers[$0] == Answer(verdict: NF_DROP) })
  }
}
