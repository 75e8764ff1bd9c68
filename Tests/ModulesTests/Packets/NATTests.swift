import Engine
import ModuleTesting
import Modules
import Testing

@Suite struct NATTests {
  static func source(_ more: [String: String] = [:], match: String = "ip,ipv4_src=10.0.0.0/24") throws -> PacketBench {
    try PacketBench(NAT.self, with: ["source": "192.0.2.1"].merging(more) { _, new in new }, match: match)
  }

  // MARK: Sources

  @Test func sourceHasOneMappingWhomeverItSpeaksTo() throws {
    let bench = try Self.source()
    #expect(
      bench.receive(Packet.udp("10.0.0.5", 30_000, to: "8.8.8.8", 53)).lines == ["192.0.2.1:30000 > 8.8.8.8:53 udp"]
    )
    #expect(
      bench.receive(Packet.udp("10.0.0.5", 30_000, to: "9.9.9.9", 5)).lines == ["192.0.2.1:30000 > 9.9.9.9:5 udp"])
    for peer in ["8.8.8.8", "9.9.9.9", "7.7.7.7"] {
      let answer = bench.receive(Packet.udp(peer, 53, to: "192.0.2.1", 30_000))
      #expect(answer.lines == ["\(peer):53 > 10.0.0.5:30000 udp"])
    }
    #expect(bench.count("mappings") == 1)
    // Nobody there: it is left alone.
    #expect(
      bench.receive(Packet.udp("8.8.8.8", 53, to: "192.0.2.1", 30_001)).lines == [
        "8.8.8.8:53 > 192.0.2.1:30001 udp"
      ])
    #expect(
      bench.receive(Packet.tcp("8.8.8.8", 53, to: "192.0.2.1", 30_000)).lines == [
        "8.8.8.8:53 > 192.0.2.1:30000 tcp"
      ])
  }

  @Test func portThatIsTakenIsAnotherOne() throws {
    let bench = try Self.source(["ports": "30000-30001"])
    var seen: Set<String> = []
    for host in ["10.0.0.5", "10.0.0.6"] {
      seen.formUnion(bench.receive(Packet.tcp(host, 30_000, to: "8.8.8.8", 80, flags: .syn)).lines)
    }
    #expect(seen == ["192.0.2.1:30000 > 8.8.8.8:80 tcp", "192.0.2.1:30001 > 8.8.8.8:80 tcp"])
    #expect(
      bench.receive(Packet.tcp("8.8.8.8", 80, to: "192.0.2.1", 30_000)).lines == ["8.8.8.8:80 > 10.0.0.5:30000 tcp"]
    )
    #expect(
      bench.receive(Packet.tcp("8.8.8.8", 80, to: "192.0.2.1", 30_001)).lines == ["8.8.8.8:80 > 10.0.0.6:30000 tcp"]
    )
    // None is left, of TCP.
    #expect(bench.receive(Packet.tcp("10.0.0.7", 1, to: "8.8.8.8", 80, flags: .syn)).leaving == [])
    #expect(bench.receive(Packet.tcp("10.0.0.7", 2, to: "8.8.8.8", 80, flags: .syn)).leaving == [])
    #expect(bench.count("exhausted") == 2)
    #expect(bench.events.map(\.name) == ["exhausted"])
    #expect(
      bench.receive(Packet.udp("10.0.0.7", 30_000, to: "8.8.8.8", 80)).lines == ["192.0.2.1:30000 > 8.8.8.8:80 udp"]
    )
  }

  @Test func severalAddressesAreUsedUp() throws {
    let bench = try Self.source(["source": "192.0.2.1-192.0.2.2", "ports": "7-7"])
    var seen: Set<String> = []
    for port in 1...3 as ClosedRange<UInt16> {
      seen.formUnion(bench.receive(Packet.udp("10.0.0.5", port, to: "8.8.8.8", 53)).lines)
    }
    #expect(seen == ["192.0.2.1:7 > 8.8.8.8:53 udp", "192.0.2.2:7 > 8.8.8.8:53 udp"])
  }

  @Test func echoIsToldApartByItsIdentifier() throws {
    let bench = try Self.source(["ports": "7-8"])
    let first = bench.receive(Packet.echo("10.0.0.5", to: "8.8.8.8", 7))
    let second = bench.receive(Packet.echo("10.0.0.6", to: "8.8.8.8", 7))
    #expect(first.lines == ["192.0.2.1 > 8.8.8.8 echo 7"])
    #expect(second.lines == ["192.0.2.1 > 8.8.8.8 echo 8"])
    let reply = bench.receive(Packet.echo("8.8.8.8", to: "192.0.2.1", 8, isReply: true))
    #expect(reply.lines == ["8.8.8.8 > 10.0.0.6 echo 7"])
  }

  @Test(arguments: [28, 1_000]) func errorsQuoteWhatTheirSourceHasSent(quoted: Int) throws {
    let bench = try Self.source(["ports": "7-7"])
    for packet in [
      Packet.udp("10.0.0.5", 5, to: "8.8.8.8", 53), Packet.tcp("10.0.0.5", 5, to: "8.8.8.8", 53, flags: .syn),
      Packet.echo("10.0.0.5", to: "8.8.8.8", 5),
    ] {
      let sent = try #require(bench.receive(packet).packet)
      let error = bench.receive(Packet.unreachable("1.1.1.1", to: "192.0.2.1", about: sent, quoting: quoted))
      let restored = try #require(error.packet)
      #expect(restored.description.hasPrefix("1.1.1.1 > 10.0.0.5 error"))
      // To the octet, checksums included, as far as they are quoted.
      #expect(Array(restored.octets[28...]) == Array(packet.octets.prefix(quoted)))
    }
    #expect(bench.count("errors") == 3)
  }

  @Test func errorOfAnInsiderIsTranslatedToo() throws {
    let bench = try Self.source(["ports": "7-7"])
    bench.receive(Packet.udp("10.0.0.5", 5, to: "8.8.8.8", 53))
    let answer = Packet.udp("8.8.8.8", 53, to: "192.0.2.1", 7)
    let inside = try #require(bench.receive(answer).packet)
    for source in ["10.0.0.5", "10.0.0.1"] {
      let error = try #require(bench.receive(Packet.unreachable(source, to: "8.8.8.8", about: inside)).packet)
      #expect(error.description == "192.0.2.1 > 8.8.8.8 error (8.8.8.8:53 > 192.0.2.1:7 udp)")
      #expect(Array(error.octets[28...]) == answer.octets)
    }
  }

  @Test func whatCannotBeTranslatedDoesNotLeave() throws {
    let bench = try Self.source()
    var damaged = Packet.udp("10.0.0.5", 5, to: "8.8.8.8", 53)
    damaged.octets[30] ^= 1
    for packet in [
      damaged, Packet.ip("10.0.0.5", to: "8.8.8.8", 47, payload: [1, 2, 3, 4]),
      Packet.unreachable("10.0.0.5", to: "8.8.8.8", about: Packet.udp("8.8.8.8", 53, to: "10.0.0.5", 7)),
    ] {
      #expect(bench.receive(packet).leaving == [])
    }
    #expect(bench.count("untranslatable") == 3)
  }

  @Test func flowOfBothDirectionsFindsItsAnswers() throws {
    let bench = try Self.source(match: "any")
    bench.receive(Packet.udp("10.0.0.5", 30_000, to: "8.8.8.8", 53))
    #expect(
      bench.receive(Packet.udp("8.8.8.8", 53, to: "192.0.2.1", 30_000)).lines
        == ["8.8.8.8:53 > 10.0.0.5:30000 udp"])
  }

  @Test func insidersReachEachOtherByTheirOuterAddresses() throws {
    let bench = try Self.source()
    bench.receive(Packet.udp("10.0.0.5", 30_000, to: "8.8.8.8", 53))
    bench.receive(Packet.udp("10.0.0.6", 30_001, to: "8.8.8.8", 53))
    #expect(
      bench.receive(Packet.udp("10.0.0.5", 30_000, to: "192.0.2.1", 30_001)).lines
        == ["192.0.2.1:30000 > 10.0.0.6:30001 udp"])
  }

  // MARK: Time

  @Test func silentMappingsGiveTheirPortsBack() throws {
    let bench = try Self.source(["ports": "7-7", "udp": "10"])
    #expect(bench.receive(Packet.udp("10.0.0.5", 1, to: "8.8.8.8", 53)).leaving.count == 1)
    bench.pass(.seconds(9))
    #expect(bench.receive(Packet.udp("8.8.8.8", 53, to: "192.0.2.1", 7)).lines == ["8.8.8.8:53 > 10.0.0.5:1 udp"])
    bench.pass(.seconds(9))
    #expect(bench.receive(Packet.udp("10.0.0.6", 1, to: "8.8.8.8", 53)).leaving.count == 0)
    bench.pass(.seconds(1))
    #expect(bench.receive(Packet.udp("10.0.0.6", 1, to: "8.8.8.8", 53)).lines == ["192.0.2.1:7 > 8.8.8.8:53 udp"])
    #expect(bench.receive(Packet.udp("8.8.8.8", 53, to: "192.0.2.1", 7)).lines == ["8.8.8.8:53 > 10.0.0.6:1 udp"])
  }

  @Test func openConnectionMayBeSilentForLonger() throws {
    let bench = try Self.source(["ports": "7-7", "transitory": "10", "established": "100"])
    func isMapped(after seconds: Int64, _ bench: PacketBench) -> Bool {
      bench.pass(.seconds(seconds))
      return bench.receive(Packet.tcp("8.8.8.8", 80, to: "192.0.2.1", 7)).lines[0].hasSuffix("10.0.0.5:1 tcp")
    }
    let (out, back) = (
      { (flags: Packet.Flags) in Packet.tcp("10.0.0.5", 1, to: "8.8.8.8", 80, flags: flags) },
      { (flags: Packet.Flags) in Packet.tcp("8.8.8.8", 80, to: "192.0.2.1", 7, flags: flags) }
    )
    bench.receive(out(.syn))
    #expect(!isMapped(after: 10, bench))
    for packet in [out(.syn), back([.syn, .ack]), out(.ack)] { bench.receive(packet) }
    #expect(isMapped(after: 99, bench))
    #expect(isMapped(after: 99, bench))
    // Closed by both, it is soon forgotten; so it is after a reset.
    for packet in [out([.fin, .ack]), back([.fin, .ack]), out(.ack)] { bench.receive(packet) }
    #expect(!isMapped(after: 10, bench))
    for packet in [out(.syn), back([.syn, .ack]), out(.ack), back(.rst)] { bench.receive(packet) }
    #expect(!isMapped(after: 10, bench))
  }

  @Test func mappingsAreBounded() throws {
    let bench = try Self.source(["limit": "2"])
    for port in 1...3 as ClosedRange<UInt16> { bench.receive(Packet.udp("10.0.0.5", port, to: "8.8.8.8", 53)) }
    #expect(bench.count("mappings") == 2)
    #expect(bench.count("exhausted") == 1)
  }

  @Test func workersShareTheMappings() throws {
    let module = try PacketBench.make(NAT.self, ["source": "192.0.2.1"])
    let one = try PacketBench(copyOf: module, match: "ip,ipv4_src=10.0.0.0/24")
    let other = try PacketBench(copyOf: module, match: "ip,ipv4_src=10.0.0.0/24")
    one.receive(Packet.udp("10.0.0.5", 30_000, to: "8.8.8.8", 53))
    let answer = Packet.udp("8.8.8.8", 53, to: "192.0.2.1", 30_000)
    #expect(other.receive(answer).lines == ["8.8.8.8:53 > 10.0.0.5:30000 udp"])
    // Also once it is set anew.
    let newer = try PacketBench.make(NAT.self, ["source": "192.0.2.9"])
    one.adopt(newer)
    other.adopt(newer)
    #expect(
      other.receive(Packet.udp("10.0.0.5", 30_001, to: "8.8.8.8", 53)).lines == ["192.0.2.9:30001 > 8.8.8.8:53 udp"]
    )
    #expect(
      one.receive(Packet.udp("8.8.8.8", 53, to: "192.0.2.9", 30_001)).lines == ["8.8.8.8:53 > 10.0.0.5:30001 udp"])
    // What was mapped keeps its address.
    #expect(
      one.receive(Packet.udp("10.0.0.5", 30_000, to: "8.8.8.8", 53)).lines == ["192.0.2.1:30000 > 8.8.8.8:53 udp"])
  }

  // MARK: Destinations

  static func destination() throws -> PacketBench {
    try PacketBench(NAT.self, with: ["destination": "10.0.0.5:80"], match: "ip,ipv4_dst=192.0.2.1")
  }

  @Test func destinationIsTranslatedAndItsAnswersBack() throws {
    let bench = try Self.destination()
    for host in ["8.8.8.8", "9.9.9.9"] {
      #expect(
        bench.receive(Packet.tcp(host, 5, to: "192.0.2.1", 8_080, flags: .syn)).lines == [
          "\(host):5 > 10.0.0.5:80 tcp"
        ])
    }
    #expect(
      bench.receive(Packet.tcp("10.0.0.5", 80, to: "9.9.9.9", 5, flags: [.syn, .ack])).lines == [
        "192.0.2.1:8080 > 9.9.9.9:5 tcp"
      ])
    #expect(bench.receive(Packet.tcp("10.0.0.5", 81, to: "9.9.9.9", 5)).lines == ["10.0.0.5:81 > 9.9.9.9:5 tcp"])
    #expect(bench.receive(Packet.echo("8.8.8.8", to: "192.0.2.1", 9)).lines == ["8.8.8.8 > 10.0.0.5 echo 9"])
    #expect(
      bench.receive(Packet.echo("10.0.0.5", to: "8.8.8.8", 9, isReply: true)).lines == [
        "192.0.2.1 > 8.8.8.8 echo 9"
      ])
  }

  @Test func errorsAboutATranslatedDestination() throws {
    let bench = try Self.destination()
    let question = Packet.udp("8.8.8.8", 5, to: "192.0.2.1", 53)
    let inside = try #require(bench.receive(question).packet)
    let error = try #require(bench.receive(Packet.unreachable("10.0.0.1", to: "8.8.8.8", about: inside)).packet)
    #expect(error.description == "192.0.2.1 > 8.8.8.8 error (8.8.8.8:5 > 192.0.2.1:53 udp)")
    #expect(Array(error.octets[28...]) == question.octets)
    let answer = Packet.udp("10.0.0.5", 80, to: "8.8.8.8", 5)
    let outside = try #require(bench.receive(answer).packet)
    let back = try #require(bench.receive(Packet.unreachable("8.8.8.8", to: "192.0.2.1", about: outside)).packet)
    #expect(back.description == "8.8.8.8 > 10.0.0.5 error (10.0.0.5:80 > 8.8.8.8:5 udp)")
    #expect(Array(back.octets[28...]) == answer.octets)
  }

  // MARK: Prefixes

  /// The example of RFC 6296 section 3.2.
  @Test func prefixIsTranslatedAsInTheRFC() throws {
    let bench = try PacketBench(
      NAT.self, ["prefix": "fd01:203:405::/48", "to": "2001:db8:1::/48"], match: "ipv6,ipv6_src=fd01:203:405::/48")
    let packet = Packet.udp("fd01:203:405:1::1234", 5, to: "2001:db8:9::1", 53)
    let sent = try #require(bench.receive(packet).packet)
    #expect(sent.description == "[2001:db8:1:d550::1234]:5 > [2001:db8:9::1]:53 udp")
    // Neutral to checksums: nothing but the address has changed.
    #expect(sent.octets[24...] == packet.octets[24...])
    #expect(
      bench.receive(Packet.udp("2001:db8:9::1", 53, to: "2001:db8:1:d550::1234", 5)).lines
        == ["[2001:db8:9::1]:53 > [fd01:203:405:1::1234]:5 udp"])
    let error = bench.receive(Packet.unreachable("2001:db8:9::1", to: "2001:db8:1:d550::1234", about: sent))
    #expect(
      error.lines
        == ["2001:db8:9::1 > fd01:203:405:1::1234 error ([fd01:203:405:1::1234]:5 > [2001:db8:9::1]:53 udp)"])
    #expect(bench.count("errors") == 1 && bench.count("translated") == 2)
  }

  @Test func everyAddressComesBack() throws {
    for (inner, outer) in [
      ("fd00:1::/32", "2001:db8::/32"), ("fd00:1::/48", "2001:db8::/48"), ("fd00:1:2:3::/64", "2001:db8:7:8::/64"),
    ] {
      let bench = try PacketBench(NAT.self, with: ["prefix": inner, "to": outer], match: "ipv6,ipv6_src=\(inner)")
      for interface in ["::1", "::ffff:1", ":ffff:ffff:ffff:1", ":0:1:2:3"] {
        let host = (inner.hasSuffix("/64") ? "fd00:1:2:3" : "fd00:1:0:3") + interface
        let packet = Packet.udp(host, 5, to: "2001:db8:9::1", 53)
        let sent = try #require(bench.receive(packet).packet)
        #expect(sent.description.hasPrefix("[2001:db8:"))
        var answer = sent
        answer.octets.replaceSubrange(8..<24, with: sent.octets[24..<40])
        answer.octets.replaceSubrange(24..<40, with: sent.octets[8..<24])
        let back = try #require(bench.receive(answer).packet)
        #expect(back.octets[24..<40] == packet.octets[8..<24])
      }
    }
  }

  @Test func subnetThatHasNoCounterpartIsRefused() throws {
    let bench = try PacketBench(
      NAT.self, ["prefix": "fd01:203:405::/48", "to": "2001:db8:1::/48"], match: "ipv6,ipv6_src=fd01:203:405::/48")
    let out = bench.receive(Packet.udp("fd01:203:405:ffff::1", 5, to: "2001:db8:9::1", 53))
    #expect(out.lines.map { $0.prefix(42) } == ["2001:db8:9::1 > fd01:203:405:ffff::1 error"])
    #expect(out.fate == .refused)
    #expect(bench.count("untranslatable") == 1)
  }

  // MARK: Arguments

  @Test(arguments: [
    [:], ["source": "192.0.2.1", "destination": "10.0.0.1"], ["source": "192.0.2"], ["source": "192.0.2.9-192.0.2.1"],
    ["source": "192.0.2.1-193.0.2.1"], ["source": "192.0.2.1", "ports": "0-5"], ["source": "192.0.2.1", "ports": "9"],
    ["destination": "10.0.0.1:0"], ["destination": "10.0.0.1:x"], ["destination": "fd00::1:80x"],
    ["prefix": "fd00::/48"], ["prefix": "fd00::/48", "to": "fd01::/56"], ["prefix": "10.0.0.0/8", "to": "11.0.0.0/8"],
    ["prefix": "fd00::1/48", "to": "fd01::/48"], ["prefix": "fd00::/80", "to": "fd01::/80"],
    // Nobody's.
    ["source": "0.0.0.0"], ["source": "255.255.255.255"], ["source": "224.0.0.1"], ["source": "0.1.2.3"],
    ["source": "::"], ["source": "ff02::1"], ["source": "223.255.255.250-224.0.0.1"],
    ["source": "255.255.255.250-255.255.255.255"], ["destination": "224.0.0.1"], ["destination": "255.255.255.255:80"],
    ["destination": "0.0.0.0"], ["destination": "[ff02::1]:80"], ["prefix": "ff00::/48", "to": "fd01::/48"],
    ["prefix": "fd00::/48", "to": "ff00::/48"],
  ])
  func argumentsThatMakeNoSense(arguments: [String: String]) {
    #expect(throws: ArgumentError.self) { try PacketBench.make(NAT.self, arguments) }
  }

  @Test func destinationOfIPv6HasItsPortBehindBrackets() throws {
    let bench = try PacketBench(NAT.self, with: ["destination": "[fd00::5]:80"], match: "ipv6,ipv6_dst=2001:db8::1")
    #expect(
      bench.receive(Packet.udp("2001:db8::2", 5, to: "2001:db8::1", 53)).lines == ["[2001:db8::2]:5 > [fd00::5]:80 udp"]
    )
  }
}
