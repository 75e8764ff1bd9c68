import ModuleTesting
import Testing

@testable import Engine

@Suite struct ICMPErrorTests {
  /// A message with `word` as the second four octets.
  private static func message(
    _ type: UInt8, _ code: UInt8 = 0, word: UInt32 = 0, quoting quotation: [UInt8], isIPv6: Bool = false
  ) -> [UInt8] {
    let body: [UInt8] = [type, code, 0, 0] + PacketBytes.octets(word) + quotation
    return isIPv6 ? PacketBytes.ipv6(body, next: 58) : PacketBytes.ipv4(body, protocolNumber: 1)
  }

  /// A packet of `count` octets of payload, cut behind the first eight octets of its TCP header.
  private static func quotation(_ count: Int, isIPv6: Bool = false) -> [UInt8] {
    let whole =
      isIPv6
      ? PacketBytes.ipv6(PacketBytes.tcp(), payloadLength: 20 + count)
      : PacketBytes.ipv4(PacketBytes.tcp(), totalLength: 40 + count)
    return [UInt8](whole[..<(isIPv6 ? 48 : 28)])
  }

  @Test func fragmentationNeededIsRead() throws {
    let error = try #require(Self.message(3, 4, word: 1_400, quoting: Self.quotation(1_460)).icmpError)
    #expect(error.mtu == 1_400)
    #expect(error.quotationOffset == 28)
    #expect(error.segment.ip.source.description == "192.0.2.1")
    #expect(error.segment.ip.destination.description == "198.51.100.7")
    #expect(error.segment.ip.totalLength == 1_500)
    #expect(error.segment.sourcePort == 40_000 && error.segment.destinationPort == 80)
    #expect(error.segment.sequence == 0x0102_0304)
    #expect(error.segment.sequenceOffset == 24)
  }

  @Test func packetTooBigIsRead() throws {
    let error = try #require(
      Self.message(2, word: 100_000, quoting: Self.quotation(1_440, isIPv6: true), isIPv6: true).icmpError)
    #expect(error.mtu == 100_000)
    #expect(error.quotationOffset == 48)
    #expect(error.segment.ip.totalLength == 1_500)
    #expect(error.segment.sequence == 0x0102_0304)
    #expect(error.segment.sequenceOffset == 44)
  }

  @Test func optionsAndExtensionHeadersOfTheQuotationAreSkipped() throws {
    let options = PacketBytes.ipv4(PacketBytes.tcp(), options: [1, 1, 1, 0])
    #expect(Self.message(11, quoting: options).icmpError?.segment.sequence == 0x0102_0304)
    let extended = PacketBytes.ipv6(
      PacketBytes.tcp(), extensions: [(kind: 60, octets: [0, 0, 0, 0, 0, 0, 0])])
    let error = Self.message(3, quoting: extended, isIPv6: true).icmpError
    #expect(error?.segment.sequence == 0x0102_0304)
    #expect(error?.segment.sequenceOffset == 52)
  }

  @Test func otherErrorsTellNoMTU() {
    for (type, code) in [(3, 0), (3, 1), (3, 3), (4, 0), (11, 0), (12, 0)] as [(UInt8, UInt8)] {
      let error = Self.message(type, code, word: 1_400, quoting: Self.quotation(100)).icmpError
      #expect(error != nil && error?.mtu == nil)
    }
    for type in [1, 3, 4] as [UInt8] {
      let error = Self.message(type, word: 1_400, quoting: Self.quotation(100, isIPv6: true), isIPv6: true).icmpError
      #expect(error != nil && error?.mtu == nil)
    }
  }

  @Test func whatIsNoErrorAboutTCPIsNone() {
    let quotation = Self.quotation(100)
    for type in [0, 5, 8, 13] as [UInt8] { #expect(Self.message(type, quoting: quotation).icmpError == nil) }
    #expect(Self.message(128, quoting: Self.quotation(1, isIPv6: true), isIPv6: true).icmpError == nil)
    // UDP, a later fragment, the other version.
    #expect(Self.message(3, 4, quoting: PacketBytes.ipv4(PacketBytes.udp([]), protocolNumber: 17)).icmpError == nil)
    #expect(Self.message(3, 4, quoting: PacketBytes.ipv4(PacketBytes.tcp(), fragmentation: 3)).icmpError == nil)
    #expect(Self.message(3, 4, quoting: Self.quotation(1, isIPv6: true)).icmpError == nil)
    #expect(PacketBytes.ipv4(PacketBytes.tcp()).icmpError == nil)
  }

  @Test func tooShortQuotationsAreNone() {
    for isIPv6 in [false, true] {
      let quotation = Self.quotation(100, isIPv6: isIPv6)
      for count in 0...quotation.count {
        let packet = Self.message(3, 4, quoting: [UInt8](quotation[..<count]), isIPv6: isIPv6)
        #expect((packet.icmpError != nil) == (count == quotation.count), "\(count)")
      }
    }
  }

  @Test func anyOctetsAreTaken() {
    var random = SplitMix(seed: 29)
    for _ in 0..<20_000 {
      let isIPv6 = random.once(in: 2)
      var quotation =
        isIPv6
        ? PacketBytes.ipv6(PacketBytes.tcp(), extensions: [(kind: 43, octets: [0, 0, 0, 0, 0, 0, 0])])
        : PacketBytes.ipv4(PacketBytes.tcp())
      for _ in 0..<3 {
        quotation[Int.random(in: quotation.indices, using: &random)] = .random(in: 0...255, using: &random)
      }
      quotation.removeLast(Int.random(in: 0...quotation.count, using: &random))
      let packet = Self.message(3, 4, word: .random(in: 0 ... .max, using: &random), quoting: quotation, isIPv6: isIPv6)
      if let error = packet.icmpError {
        #expect(error.quotationOffset + error.segment.sequenceOffset + 4 <= packet.count)
      }
    }
  }

  @Test func theQuotedNumberIsReplacedAndTheChecksumFollows() throws {
    var random = SplitMix(seed: 1)
    for isIPv6 in [false, true] {
      for _ in 0..<1_000 {
        var packet = Self.message(
          3, 4, word: .random(in: 0 ... .max, using: &random), quoting: Self.quotation(100, isIPv6: isIPv6),
          isIPv6: isIPv6)
        let headers = try #require(packet.parsed())
        let icmp = headers.payloadOffset - 8
        let pseudo: [UInt8] =
          isIPv6 ? [UInt8](packet[8..<40]) + PacketBytes.octets(UInt32(packet.count - 40)) + [0, 0, 0, 58] : []
        let sum = PacketBytes.naiveChecksum(pseudo + packet[icmp...])
        packet.replaceSubrange(icmp + 2..<icmp + 4, with: PacketBytes.octets(sum))
        #expect(packet.hasRightTransportChecksum(headers))
        let error = try #require(packet.icmpError)
        let number = UInt32.random(in: 0 ... .max, using: &random)
        var span = packet.mutableSpan
        HeaderPatch.setQuotedSequence(number, of: error, in: &span)
        #expect(packet.hasRightTransportChecksum(headers))
        #expect(packet.icmpError?.segment.sequence == number)
      }
    }
  }
}
