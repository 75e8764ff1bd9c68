import ModuleTesting
import Testing

@testable import Engine

@Suite struct HeaderWriterTests {
  private static func blocks(_ count: Int) -> SACKBlocks {
    var blocks = SACKBlocks()
    for index in 0..<UInt32(count) { blocks.append(left: 1000 * (index + 1), right: 1000 * (index + 1) + 500) }
    return blocks
  }

  @Test(arguments: [false, true])
  func freshHeadersReadAsTheirTemplate(isIPv6: Bool) throws {
    let original =
      isIPv6
      ? PacketBytes.ipv6(PacketBytes.tcp(), extensions: [(60, [0, 0, 0, 0, 0, 0, 0])])
      : PacketBytes.ipv4(PacketBytes.tcp(), options: [1, 1, 1, 1])
    let template = try #require(original.parsed()).ip
    var packet = [UInt8](repeating: 0xee, count: 120)
    var span = packet.mutableSpan
    let ipLength = HeaderWriter.writeIP(from: template, payloadLength: 21, identification: 77, into: &span)
    let tcpLength = HeaderWriter.writeTCP(
      sourcePort: 1, destinationPort: 2, sequence: 3, acknowledgement: 4, flags: [.ack, .cwr], window: 5,
      urgentPointer: 6, into: &span, at: ipLength)
    #expect(ipLength == (isIPv6 ? 40 : 20))
    #expect(tcpLength == 20)
    let headers = try #require(packet.parsed())
    let ip = headers.ip
    #expect(ip.source == template.source && ip.destination == template.destination)
    #expect(ip.trafficClass == template.trafficClass && ip.hopLimit == template.hopLimit)
    #expect(ip.flowLabel == template.flowLabel && ip.dontFragment == template.dontFragment)
    #expect(ip.totalLength == ipLength + 21 && !ip.hasOptions && !ip.isFragment)
    if !isIPv6 {
      #expect(ip.identification == 77)
      #expect(PacketBytes.naiveChecksum(Array(packet[..<20])) == 0)
    }
    let tcp = try #require(headers.tcp)
    #expect(tcp.sourcePort == 1 && tcp.destinationPort == 2 && tcp.sequence == 3 && tcp.acknowledgement == 4)
    #expect(tcp.flags == [.ack, .cwr] && tcp.window == 5 && tcp.urgentPointer == 6)
    #expect(packet[ipLength + 16] == 0 && packet[ipLength + 17] == 0)
    #expect(packet[ipLength + 20] == 0xee, "nothing is written behind the header")
  }

  @Test(arguments: [(false, 0, 20, 0), (true, 0, 32, 0), (false, 4, 56, 4), (true, 1, 44, 1), (true, 4, 60, 3)])
  func optionsAreWrittenAsLinuxDoes(timestamps: Bool, blocks: Int, length: Int, written: Int) throws {
    var packet = PacketBytes.ipv4([UInt8](repeating: 0, count: 60))
    var span = packet.mutableSpan
    let tcpLength = HeaderWriter.writeTCP(
      sourcePort: 1, destinationPort: 2, sequence: 3, acknowledgement: 4, flags: .ack, window: 5,
      timestamps: timestamps ? (0xa1a2_a3a4, 0xb1b2_b3b4) : nil, sack: Self.blocks(blocks), into: &span, at: 20)
    #expect(tcpLength == length)
    let options = try #require(packet.parsed()?.tcp).options
    #expect(!options.isMalformed)
    #expect(options.timestamps?.value == (timestamps ? 0xa1a2_a3a4 : nil))
    #expect(options.timestamps?.echo == (timestamps ? 0xb1b2_b3b4 : nil))
    #expect(options.sack.count == written)
    for index in 0..<written { #expect(options.sack[index] == Self.blocks(4)[index]) }
    if let offset = options.timestampsOffset { #expect(Array(packet[20 + offset - 2..<20 + offset]) == [1, 1]) }
    if let offset = options.sackOffset { #expect(Array(packet[20 + offset - 2..<20 + offset]) == [1, 1]) }
  }

  @Test func fieldsAreSetInPlace() throws {
    for (packet, start) in [
      (PacketBytes.ipv4(PacketBytes.tcp([1, 2, 3, 4]), options: [1, 1, 1, 1]), 24),
      (PacketBytes.ipv6(PacketBytes.tcp([1, 2, 3, 4])), 40),
    ] {
      var packet = packet
      var span = packet.mutableSpan
      HeaderPatch.setTotalLength(start + 22, in: &span)
      HeaderPatch.setTCPSequence(100, in: &span, tcp: start)
      HeaderPatch.setTCPAcknowledgement(200, in: &span, tcp: start)
      HeaderPatch.setTCPFlags([.fin, .ack], in: &span, tcp: start)
      HeaderPatch.setTCPWindow(300, in: &span, tcp: start)
      HeaderPatch.setTCPUrgentPointer(0, in: &span, tcp: start)
      HeaderPatch.setTCPChecksum(0x1234, in: &span, tcp: start)
      let headers = try #require(packet.parsed())
      #expect(headers.payloadLength == 2)
      if start == 24 { #expect(PacketBytes.naiveChecksum(Array(packet[..<24])) == 0) }
      let tcp = try #require(headers.tcp)
      #expect(tcp.sequence == 100 && tcp.acknowledgement == 200 && tcp.flags == [.fin, .ack])
      #expect(tcp.window == 300 && tcp.urgentPointer == 0)
      #expect(packet.word(at: start + 16) == 0x1234)
    }
  }

  @Test(arguments: [(4, 4), (2, 2), (1, 1), (0, 0)])
  func sackBlocksAreReplacedInPlace(new: Int, written: Int) throws {
    var packet = PacketBytes.ipv4(
      PacketBytes.tcp([9], options: [1, 1, 5, 34] + [UInt8](repeating: 7, count: 32)))
    var span = packet.mutableSpan
    HeaderPatch.setSACK(Self.blocks(new), in: &span, tcp: 20, option: 22)
    let headers = try #require(packet.parsed())
    let options = try #require(headers.tcp).options
    #expect(!options.isMalformed)
    #expect(options.sack.count == written)
    for index in 0..<written { #expect(options.sack[index] == Self.blocks(4)[index]) }
    #expect((options.sackOffset == nil) == (written == 0))
    #expect(headers.tcp?.headerLength == 56)
    #expect(headers.payloadLength == 1)
  }

  @Test func blocksBeyondTheOldOptionAreLeftOut() throws {
    var packet = PacketBytes.ipv4(
      PacketBytes.tcp(options: [5, 10, 0, 0, 0, 1, 0, 0, 0, 2, 3, 3, 7, 0]))
    // Options must fill whole words.
    packet = PacketBytes.ipv4(PacketBytes.tcp(options: Array(packet[40..<53]) + [0, 0, 0]))
    var span = packet.mutableSpan
    HeaderPatch.setSACK(Self.blocks(3), in: &span, tcp: 20, option: 20)
    let options = try #require(packet.parsed()?.tcp).options
    #expect(options.sack.count == 1)
    #expect(options.windowScale == 7)
  }

  @Test func patchingHostileOptionsStaysInsideTheHeader() {
    var random = SplitMix(seed: 5)
    for _ in 0..<20_000 {
      let options = (0..<Int.random(in: 0...10, using: &random) * 4).map { _ in UInt8.random(in: 0...34, using: &random)
      }
      var packet = PacketBytes.ipv4(PacketBytes.tcp(options: options))
      let before = packet.parsed()?.tcp?.headerLength
      if let offset = packet.parsed()?.tcp?.options.sackOffset {
        var span = packet.mutableSpan
        HeaderPatch.setSACK(Self.blocks(.random(in: 0...4, using: &random)), in: &span, tcp: 20, option: offset)
      }
      #expect(packet.parsed()?.tcp?.headerLength == before)
    }
  }
}
