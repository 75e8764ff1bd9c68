import ModuleTesting
import Testing

@testable import Engine

@Suite struct ChecksumTests {
  private static func randomBytes(_ count: Int, _ random: inout SplitMix) -> [UInt8] {
    (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
  }

  @Test func allLengthsAndAlignmentsAgreeWithTheDefinition() {
    var random = SplitMix(seed: 2)
    let bytes = Self.randomBytes(320, &random)
    for length in 0...300 {
      for start in 0..<16 {
        let range = start..<start + length
        let sum = Checksum.sum(bytes.span.extracting(range))
        #expect(Checksum.fold(sum) == PacketBytes.naiveChecksum(Array(bytes[range])))
      }
    }
  }

  @Test func carriesOfFullWordsAreKept() {
    for length in [8, 32, 33, 64, 65_535] {
      let bytes = [UInt8](repeating: 0xff, count: length)
      #expect(Checksum.fold(Checksum.sum(bytes.span)) == PacketBytes.naiveChecksum(bytes))
    }
    #expect(Checksum.fold(Checksum.sum([UInt8](repeating: 0, count: 40).span)) == 0xffff)
  }

  @Test func piecesOfAnyLengthAddUp() {
    var random = SplitMix(seed: 3)
    for _ in 0..<2_000 {
      let bytes = Self.randomBytes(.random(in: 0...200, using: &random), &random)
      var sum: UInt64 = 0
      var offset = 0
      while offset < bytes.count {
        let end = Int.random(in: offset...bytes.count, using: &random)
        sum = Checksum.combine(sum, Checksum.sum(bytes.span.extracting(offset..<end)), at: offset)
        offset = end
      }
      #expect(Checksum.fold(sum) == PacketBytes.naiveChecksum(bytes))
    }
  }

  @Test func incrementalUpdatesAgreeWithAFullComputation() {
    var random = SplitMix(seed: 4)
    for _ in 0..<2_000 {
      var bytes = Self.randomBytes(40, &random)
      let checksum = PacketBytes.naiveChecksum(bytes)
      let at = Int.random(in: 0...18, using: &random) * 2
      if Bool.random(using: &random) {
        let new = UInt16.random(in: 0...UInt16.max, using: &random)
        let updated = Checksum.update(checksum, from: bytes.span.uint16(at: at), to: new)
        bytes.replaceSubrange(at..<at + 2, with: PacketBytes.octets(new))
        #expect(updated == PacketBytes.naiveChecksum(bytes))
      } else {
        let new = UInt32.random(in: 0...UInt32.max, using: &random)
        let updated = Checksum.update(checksum, from: bytes.span.uint32(at: at), to: new)
        bytes.replaceSubrange(at..<at + 4, with: PacketBytes.octets(new))
        #expect(updated == PacketBytes.naiveChecksum(bytes))
      }
    }
  }

  /// RFC 1624 section 4: the case that the older equation gets wrong.
  @Test func theExampleOfRFC1624() { #expect(Checksum.update(0xdd2f, from: 0x5555 as UInt16, to: 0x3285) == 0x0000) }

  /// The pseudo-header, laid out as it would stand on the wire.
  private static func pseudoHeader(_ packet: [UInt8], isIPv6: Bool, number: UInt8, length: Int) -> [UInt8] {
    isIPv6
      ? Array(packet[8..<40]) + PacketBytes.octets(UInt32(length)) + [0, 0, 0, number]
      : Array(packet[12..<20]) + [0, number] + PacketBytes.octets(UInt16(length))
  }

  @Test(
    arguments: [
      (6, PacketBytes.tcp([1, 2, 3, 4, 5]), 16), (17, PacketBytes.udp([9, 8, 7]), 6),
      (58, [128, 0, 0, 0, 0, 1, 0, 2, 3], 2), (1, [8, 0, 0, 0, 0, 1, 0, 2, 3], 2),
    ] as [(UInt8, [UInt8], Int)], [false, true])
  func transportChecksumsAreVerified(_ transport: (number: UInt8, octets: [UInt8], field: Int), isIPv6: Bool) throws {
    guard transport.number != (isIPv6 ? 1 : 58) else { return }
    var packet =
      isIPv6
      ? PacketBytes.ipv6(transport.octets, next: transport.number)
      : PacketBytes.ipv4(transport.octets, protocolNumber: transport.number)
    let start = isIPv6 ? 40 : 20
    let pseudo =
      transport.number == 1
      ? [] : Self.pseudoHeader(packet, isIPv6: isIPv6, number: transport.number, length: transport.octets.count)
    let checksum = PacketBytes.naiveChecksum(pseudo + transport.octets)
    packet.replaceSubrange(start + transport.field..<start + transport.field + 2, with: PacketBytes.octets(checksum))
    packet += [0xaa, 0xbb]  // Padding is not summed.
    let headers = try #require(packet.parsed())
    #expect(packet.hasRightTransportChecksum(headers))
    packet[packet.count - 3] ^= 1
    #expect(!packet.hasRightTransportChecksum(headers))
  }

  @Test func udpMayGoWithoutInIPv4Only() throws {
    let four = PacketBytes.ipv4(PacketBytes.udp([1]), protocolNumber: 17)
    #expect(try four.hasRightTransportChecksum(#require(four.parsed())))
    let six = PacketBytes.ipv6(PacketBytes.udp([1]), next: 17)
    #expect(try !six.hasRightTransportChecksum(#require(six.parsed())))
  }
}
