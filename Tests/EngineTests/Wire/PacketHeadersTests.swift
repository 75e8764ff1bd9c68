import ModuleTesting
import Testing

@testable import Engine

@Suite struct PacketHeadersTests {
  /// Octets after the next-header octet of an extension header of `units * 8` octets.
  private static func extensionHeader(_ units: Int = 1) -> [UInt8] {
    [UInt8(units - 1), 0] + [UInt8](repeating: 0, count: units * 8 - 3)
  }

  @Test func ipv4FieldsAreRead() throws {
    let headers = try #require(PacketBytes.ipv4(PacketBytes.tcp([1, 2, 3])).parsed())
    let ip = headers.ip
    #expect(!ip.isIPv6)
    #expect(ip.source.description == "192.0.2.1")
    #expect(ip.destination.description == "198.51.100.7")
    #expect(ip.headerLength == 20)
    #expect(ip.totalLength == 43)
    #expect(ip.trafficClass == 0xb9)
    #expect(ip.hopLimit == 64)
    #expect(ip.identification == 0x1234)
    #expect(ip.dontFragment && !ip.isFragment && !ip.hasOptions)
    #expect(ip.protocolNumber == 6)
    #expect(headers.payloadOffset == 40)
    #expect(headers.payloadLength == 3)
  }

  @Test func ipv6FieldsAreRead() throws {
    let headers = try #require(PacketBytes.ipv6(PacketBytes.tcp([1, 2, 3])).parsed())
    let ip = headers.ip
    #expect(ip.isIPv6)
    #expect(ip.source.description == "2001:db8::1")
    #expect(ip.destination.description == "2001:db8::2")
    #expect(ip.headerLength == 40)
    #expect(ip.totalLength == 63)
    #expect(ip.trafficClass == 0xb9)
    #expect(ip.flowLabel == 0x12345)
    #expect(ip.hopLimit == 63)
    #expect(ip.dontFragment && !ip.isFragment && !ip.hasOptions)
    #expect(headers.payloadOffset == 60)
    #expect(headers.payloadLength == 3)
  }

  @Test func tcpFieldsAreRead() throws {
    let tcp = try #require(PacketBytes.ipv4(PacketBytes.tcp(flags: 0xc1)).parsed()?.tcp)
    #expect(tcp.sourcePort == 40000)
    #expect(tcp.destinationPort == 80)
    #expect(tcp.sequence == 0x0102_0304)
    #expect(tcp.acknowledgement == 0xfffe_fdfc)
    #expect(tcp.flags == [.fin, .ece, .cwr])
    #expect(tcp.window == 0x7210)
    #expect(tcp.urgentPointer == 9)
    #expect(tcp.headerLength == 20)
  }

  @Test func everyOptionIsRead() throws {
    let options: [UInt8] =
      [2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 1, 3, 3, 15, 30, 4, 0, 0, 34, 4, 1, 2, 19, 3, 0, 0]
    let read = try #require(PacketBytes.ipv4(PacketBytes.tcp(options: options)).parsed()?.tcp).options
    #expect(read.maximumSegmentSize == 1460)
    #expect(read.windowScale == 14)
    #expect(read.sackPermitted)
    #expect(read.timestamps?.value == 1 && read.timestamps?.echo == 2)
    #expect(read.timestampsOffset == 26)
    #expect(read.multipath != nil && read.hasFastOpen && read.hasAuthentication)
    #expect(!read.isMalformed)
  }

  @Test func sackBlocksAreRead() throws {
    let options: [UInt8] = [1, 1, 5, 18, 0, 0, 0, 1, 0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 7]
    let read = try #require(PacketBytes.ipv6(PacketBytes.tcp(options: options)).parsed()?.tcp).options
    #expect(read.sackOffset == 22)
    try #require(read.sack.count == 2)
    #expect(read.sack[0] == (1, 2))
    #expect(read.sack[1] == (0xffff_ffff, 7))
  }

  @Test(
    arguments: [
      ([29, 4, 1, 2], true, false), ([19, 2, 0, 0], true, false), ([254, 4, 0xf9, 0x89], false, true),
      ([254, 4, 0xf9, 0x88], false, false),
    ] as [([UInt8], Bool, Bool)])
  func authenticationAndFastOpenAreKnownInAllForms(options: [UInt8], authentication: Bool, fastOpen: Bool) throws {
    let read = try #require(PacketBytes.ipv4(PacketBytes.tcp(options: options)).parsed()?.tcp).options
    #expect(read.hasAuthentication == authentication)
    #expect(read.hasFastOpen == fastOpen)
  }

  @Test(
    arguments: [
      [8, 0, 0, 0], [8, 1, 0, 0], [1, 1, 1, 8], [2, 5, 0, 0], [2, 3, 0, 0], [5, 4, 0, 0], [3, 4, 0, 0],
    ] as [[UInt8]])
  func malformedOptionsAreSaidSo(options: [UInt8]) throws {
    let read = try #require(PacketBytes.ipv4(PacketBytes.tcp(options: options)).parsed()?.tcp).options
    #expect(read.isMalformed)
    #expect(read.maximumSegmentSize == nil && read.timestamps == nil && read.sack.isEmpty && read.windowScale == nil)
  }

  @Test func nothingIsReadBehindTheEndOfOptions() throws {
    let read = try #require(PacketBytes.ipv4(PacketBytes.tcp(options: [0, 8, 0, 1])).parsed()?.tcp).options
    #expect(!read.isMalformed)
  }

  @Test func ipv4OptionsAreSkipped() throws {
    let headers = try #require(PacketBytes.ipv4(PacketBytes.tcp([9]), options: [0x94, 4, 0, 0, 1, 1, 1, 1]).parsed())
    #expect(headers.ip.hasOptions)
    #expect(headers.ip.headerLength == 28)
    #expect(headers.tcp?.destinationPort == 80)
    #expect(headers.payloadOffset == 48)
    #expect(headers.payloadLength == 1)
  }

  @Test(
    arguments: [
      [(0, extensionHeader())], [(60, extensionHeader(3))], [(43, extensionHeader(2))],
      [(0, extensionHeader()), (60, extensionHeader()), (43, extensionHeader()), (60, extensionHeader(2))],
      Array(repeating: (60, extensionHeader()), count: 150),
      [(135, extensionHeader(2)), (139, extensionHeader()), (140, extensionHeader())],
      [(0, extensionHeader()), (44, [0, 0, 0, 0, 0, 0x12, 0x34]), (60, extensionHeader())],
    ] as [[(kind: UInt8, octets: [UInt8])]])
  func extensionHeadersAreSkipped(chain: [(kind: UInt8, octets: [UInt8])]) throws {
    let headers = try #require(PacketBytes.ipv6(PacketBytes.tcp([7, 8]), extensions: chain).parsed())
    let length = chain.reduce(0) { $0 + $1.octets.count + 1 }
    #expect(headers.ip.hasOptions && !headers.ip.isFragment)
    #expect(headers.ip.headerLength == 40 + length)
    #expect(headers.ip.protocolNumber == 6)
    #expect(headers.tcp?.sourcePort == 40000)
    #expect(headers.payloadOffset == 60 + length)
    #expect(headers.payloadLength == 2)
  }

  @Test func theTransportBehindPlacesYetToGoIsLeftAlone() throws {
    var header = Self.extensionHeader(3)
    header[2] = 1  // One segment left.
    let headers = try #require(PacketBytes.ipv6(PacketBytes.tcp(), extensions: [(43, header)]).parsed())
    #expect(headers.ip.isSourceRouted)
    #expect(headers.other == 6)
  }

  @Test(arguments: [(0x2000, true), (0x2001, true), (0x0001, true), (0x4000, false), (0x0000, false), (0x8000, false)])
  func ipv4FragmentsAreKnown(fragmentation: UInt16, isFragment: Bool) throws {
    let headers = try #require(PacketBytes.ipv4(PacketBytes.tcp(), fragmentation: fragmentation).parsed())
    #expect(headers.ip.isFragment == isFragment)
    #expect(headers.isTransportFragment == isFragment)
    #expect(headers.ip.dontFragment == (fragmentation == 0x4000))
    if isFragment {
      #expect(headers.payloadOffset == 20)
      #expect(headers.payloadLength == 20)
    }
  }

  @Test(arguments: [(0x0001, true), (0x0008, true), (0xfff9, true), (0x0000, false), (0x0006, false)])
  func ipv6FragmentsAreKnown(fragmentation: UInt16, isFragment: Bool) throws {
    let header: [UInt8] = [0] + PacketBytes.octets(fragmentation) + [0xaa, 0xbb, 0x12, 0x34]
    let headers = try #require(PacketBytes.ipv6(PacketBytes.tcp(), extensions: [(44, header)]).parsed())
    #expect(headers.ip.isFragment == isFragment)
    #expect(headers.isTransportFragment == isFragment)
    #expect(headers.ip.identification == 0x1234)
    #expect(headers.ip.headerLength == 48)
    #expect(headers.ip.protocolNumber == 6)
  }

  @Test func paddingIsNoPayload() throws {
    for packet in [PacketBytes.ipv4(PacketBytes.tcp([1])), PacketBytes.ipv6(PacketBytes.tcp([1]))] {
      let headers = try #require((packet + [0, 0, 0, 0, 0]).parsed())
      #expect(headers.payloadLength == 1)
      #expect(headers.ip.totalLength == packet.count)
    }
  }

  @Test func udpAndICMPAreRead() throws {
    let udp = try #require(PacketBytes.ipv4(PacketBytes.udp([1, 2]) + [3], protocolNumber: 17).parsed())
    #expect(udp.udp?.sourcePort == 5353)
    #expect(udp.udp?.destinationPort == 53)
    #expect(udp.payloadOffset == 28)
    #expect(udp.payloadLength == 2, "what follows the UDP length is no payload")
    let message: [UInt8] = [3, 4, 0, 0, 0, 0, 0x05, 0x78, 0x45]
    let icmp = try #require(PacketBytes.ipv4(message, protocolNumber: 1).parsed())
    #expect(icmp.icmp?.type == 3)
    #expect(icmp.icmp?.code == 4)
    #expect(icmp.payloadOffset == 28)
    #expect(icmp.payloadLength == 1)
    #expect(PacketBytes.ipv6(message, next: 58).parsed()?.icmp?.type == 3)
  }

  @Test(arguments: [47, 50, 51, 132, 59])
  func otherProtocolsAreNotLookedInto(number: UInt8) throws {
    for packet in [PacketBytes.ipv4([1, 2, 3], protocolNumber: number), PacketBytes.ipv6([1, 2, 3], next: number)] {
      let headers = try #require(packet.parsed())
      #expect(headers.other == number)
      #expect(headers.payloadLength == 3)
    }
    #expect(PacketBytes.ipv4([UInt8](repeating: 0, count: 8), protocolNumber: 58).parsed()?.other == 58)
    #expect(PacketBytes.ipv6([UInt8](repeating: 0, count: 8), next: 1).parsed()?.other == 1)
  }

  @Test(
    arguments: [
      ([], .truncated), ([UInt8](repeating: 0x45, count: 19), .truncated),
      ([UInt8](PacketBytes.ipv6([]).prefix(39)), .truncated),
      ([UInt8](PacketBytes.ipv4([], options: [1, 1, 1, 1]).prefix(23)), .truncated),
      ([0x55] + [UInt8](repeating: 0, count: 60), .badVersion),
      ([0x44] + PacketBytes.ipv4(PacketBytes.tcp()).dropFirst(), .badHeaderLength),
      (PacketBytes.ipv4(PacketBytes.tcp(), totalLength: 19), .badTotalLength),
      (PacketBytes.ipv4(PacketBytes.tcp(), totalLength: 41), .badTotalLength),
      (PacketBytes.ipv4(PacketBytes.tcp(), totalLength: 0), .badTotalLength),
      (PacketBytes.ipv6(PacketBytes.tcp(), payloadLength: 21), .badTotalLength),
      (
        PacketBytes.ipv6(PacketBytes.tcp(), extensions: [(60, extensionHeader()), (0, extensionHeader())]),
        .misplacedExtension
      ),
      (PacketBytes.ipv6([6, 0, 0], next: 60), .truncatedExtension),
      (PacketBytes.ipv6([6, 1, 0, 0, 0, 0, 0, 0], next: 43), .truncatedExtension),
      (PacketBytes.ipv6([6, 0, 0, 0], next: 44), .truncatedExtension),
      (PacketBytes.ipv4([UInt8](repeating: 0, count: 19)), .truncatedTransport),
      (PacketBytes.ipv6([], next: 6), .truncatedTransport),
      (PacketBytes.ipv4([0, 0, 0, 0, 0, 8, 0], protocolNumber: 17), .truncatedTransport),
      (PacketBytes.ipv6([128, 0, 0, 0, 0, 0, 0], next: 58), .truncatedTransport),
      (PacketBytes.ipv4(PacketBytes.tcp(dataOffset: 4)), .badDataOffset),
      (PacketBytes.ipv4(PacketBytes.tcp(dataOffset: 6)), .badDataOffset),
      (PacketBytes.ipv6(PacketBytes.udp([], length: 7), next: 17), .badUDPLength),
      (PacketBytes.ipv4(PacketBytes.udp([1], length: 10), protocolNumber: 17), .badUDPLength),
    ] as [([UInt8], Malformation)])
  func malformationsAreNamed(packet: [UInt8], reason: Malformation) {
    #expect(packet.malformation == reason)
  }

  /// Mutated and cut packets: whatever is reported lies within the packet.
  @Test func noBytesTrapTheParser() {
    let seeds = [
      PacketBytes.ipv4(
        PacketBytes.tcp([1, 2, 3], options: [8, 10, 0, 0, 0, 1, 0, 0, 0, 2, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2])),
      PacketBytes.ipv4(PacketBytes.udp([1]), protocolNumber: 17, options: [1, 1, 1, 1]),
      PacketBytes.ipv6(
        PacketBytes.tcp(options: [2, 4, 5, 180, 254, 4, 0xf9, 0x89]),
        extensions: [
          (0, Self.extensionHeader()), (43, Self.extensionHeader(2)), (44, [0, 0, 0, 0, 0, 0, 0]),
        ]),
      PacketBytes.ipv6([128, 0, 0, 0, 0, 0, 0, 0], next: 58),
    ]
    var random = SplitMix(seed: 1)
    for _ in 0..<60_000 {
      var packet = seeds.randomElement(using: &random)!
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        packet[Int.random(in: 0..<packet.count, using: &random)] = .random(in: 0...255, using: &random)
      }
      if Bool.random(using: &random) { packet = Array(packet.prefix(.random(in: 0...packet.count, using: &random))) }
      guard let headers = packet.parsed() else { continue }
      let isInside =
        headers.ip.headerLength >= 20 && headers.ip.headerLength <= headers.payloadOffset && headers.payloadLength >= 0
        && headers.payloadOffset + headers.payloadLength <= headers.ip.totalLength
        && headers.ip.totalLength <= packet.count
      #expect(isInside)
      if let tcp = headers.tcp {
        let hasRoom = tcp.options.sackOffset.map { $0 + 2 + 8 * tcp.options.sack.count <= tcp.headerLength } ?? true
        #expect(hasRoom)
      }
      _ = Checksum.verifyTransport(packet: packet.span, headers: headers)
    }
  }
}
