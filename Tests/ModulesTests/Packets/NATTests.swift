import Engine
import Testing

@testable import Modules

@Suite struct NATTests {
  static func source(_ more: [String: String] = [:], match: String = "ip,ipv4_src=10.0.0.0/24") throws -> PacketBench {
    try PacketBench(NAT.self, ["source": "192.0.2.1"].merging(more) { _, new in new }, match: match)
  }

  // MARK: Sources

  @Test func sourceHasOneMappingWhomeverItSpeaksTo() throws {
    var bench = try Self.source()
    #expect(
      bench.receive(Datagram.udp("10.0.0.5", 30_000, "8.8.8.8", 53)).map(\.line) == ["192.0.2.1:30000 > 8.8.8.8:53 udp"]
    )
    #expect(
      bench.receive(Datagram.udp("10.0.0.5", 30_000, "9.9.9.9", 5)).map(\.line) == ["192.0.2.1:30000 > 9.9.9.9:5 udp"])
    for peer in ["8.8.8.8", "9.9.9.9", "7.7.7.7"] {
      let answer = bench.receive(Datagram.udp(peer, 53, "192.0.2.1", 30_000))
      #expect(answer.map(\.line) == ["\(peer):53 > 10.0.0.5:30000 udp"])
    }
    #expect(bench.count("mappings") == 1)
    // Nobody there: it is left alone.
    #expect(
      bench.receive(Datagram.udp("8.8.8.8", 53, "192.0.2.1", 30_001)).map(\.line) == [
        "8.8.8.8:53 > 192.0.2.1:30001 udp"
      ])
    #expect(
      bench.receive(Datagram.tcp("8.8.8.8", 53, "192.0.2.1", 30_000)).map(\.line) == [
        "8.8.8.8:53 > 192.0.2.1:30000 tcp"
      ])
  }

  @Test func portThatIsTakenIsAnotherOne() throws {
    var bench = try Self.source(["ports": "30000-30001"])
    var seen: Set<String> = []
    for host in ["10.0.0.5", "10.0.0.6"] {
      seen.formUnion(bench.receive(Datagram.tcp(host, 30_000, "8.8.8.8", 80, flags: 2)).map(\.line))
    }
    #expect(seen == ["192.0.2.1:30000 > 8.8.8.8:80 tcp", "192.0.2.1:30001 > 8.8.8.8:80 tcp"])
    #expect(
      bench.receive(Datagram.tcp("8.8.8.8", 80, "192.0.2.1", 30_000)).map(\.line) == ["8.8.8.8:80 > 10.0.0.5:30000 tcp"]
    )
    #expect(
      bench.receive(Datagram.tcp("8.8.8.8", 80, "192.0.2.1", 30_001)).map(\.line) == ["8.8.8.8:80 > 10.0.0.6:30000 tcp"]
    )
    // None is left, of TCP.
    #expect(bench.receive(Datagram.tcp("10.0.0.7", 1, "8.8.8.8", 80, flags: 2)) == [])
    #expect(bench.receive(Datagram.tcp("10.0.0.7", 2, "8.8.8.8", 80, flags: 2)) == [])
    #expect(bench.count("exhausted") == 2)
    #expect(bench.events.map(\.name) == ["exhausted"])
    #expect(
      bench.receive(Datagram.udp("10.0.0.7", 30_000, "8.8.8.8", 80)).map(\.line) == ["192.0.2.1:30000 > 8.8.8.8:80 udp"]
    )
  }

  @Test func severalAddressesAreUsedUp() throws {
    var bench = try Self.source(["source": "192.0.2.1-192.0.2.2", "ports": "7-7"])
    var seen: Set<String> = []
    for port in 1...3 as ClosedRange<UInt16> {
      seen.formUnion(bench.receive(Datagram.udp("10.0.0.5", port, "8.8.8.8", 53)).map(\.line))
    }
    #expect(seen == ["192.0.2.1:7 > 8.8.8.8:53 udp", "192.0.2.2:7 > 8.8.8.8:53 udp"])
  }

  @Test func echoIsToldApartByItsIdentifier() throws {
    var bench = try Self.source(["ports": "7-8"])
    let first = bench.receive(Datagram.echo("10.0.0.5", "8.8.8.8", 7))
    let second = bench.receive(Datagram.echo("10.0.0.6", "8.8.8.8", 7))
    #expect(first.map(\.line) == ["192.0.2.1 > 8.8.8.8 echo 7"])
    #expect(second.map(\.line) == ["192.0.2.1 > 8.8.8.8 echo 8"])
    let reply = bench.receive(Datagram.echo("8.8.8.8", "192.0.2.1", 8, isReply: true))
    #expect(reply.map(\.line) == ["8.8.8.8 > 10.0.0.6 echo 7"])
  }

  @Test(arguments: [28, 1_000]) func errorsQuoteWhatTheirSourceHasSent(quoted: Int) throws {
    var bench = try Self.source(["ports": "7-7"])
    for packet in [
      Datagram.udp("10.0.0.5", 5, "8.8.8.8", 53), Datagram.tcp("10.0.0.5", 5, "8.8.8.8", 53, flags: 2),
      Datagram.echo("10.0.0.5", "8.8.8.8", 5),
    ] {
      let sent = try #require(bench.receive(packet).first)
      let error = bench.receive(Datagram.unreachable("1.1.1.1", "192.0.2.1", about: sent, count: quoted))
      let restored = try #require(error.first)
      #expect(restored.line.hasPrefix("1.1.1.1 > 10.0.0.5 error"))
      // To the octet, checksums included, as far as they are quoted.
      #expect(Array(restored[28...]) == Array(packet.prefix(quoted)))
    }
    #expect(bench.count("errors") == 3)
  }

  @Test func errorOfAnInsiderIsTranslatedToo() throws {
    var bench = try Self.source(["ports": "7-7"])
    _ = bench.receive(Datagram.udp("10.0.0.5", 5, "8.8.8.8", 53))
    let answer = Datagram.udp("8.8.8.8", 53, "192.0.2.1", 7)
    let inside = try #require(bench.receive(answer).first)
    for source in ["10.0.0.5", "10.0.0.1"] {
      let error = try #require(bench.receive(Datagram.unreachable(source, "8.8.8.8", about: inside)).first)
      #expect(error.line == "192.0.2.1 > 8.8.8.8 error (8.8.8.8:53 > 192.0.2.1:7 udp)")
      #expect(Array(error[28...]) == answer)
    }
  }

  @Test func whatCannotBeTranslatedDoesNotLeave() throws {
    var bench = try Self.source()
    var damaged = Datagram.udp("10.0.0.5", 5, "8.8.8.8", 53)
    damaged[30] ^= 1
    for packet in [
      damaged, Datagram.packet("10.0.0.5", "8.8.8.8", 47, [1, 2, 3, 4]),
      Datagram.unreachable("10.0.0.5", "8.8.8.8", about: Datagram.udp("8.8.8.8", 53, "10.0.0.5", 7)),
    ] {
      #expect(bench.receive(packet) == [])
    }
    #expect(bench.count("untranslatable") == 3)
  }

  @Test func flowOfBothDirectionsFindsItsAnswers() throws {
    var bench = try Self.source(match: "any")
    _ = bench.receive(Datagram.udp("10.0.0.5", 30_000, "8.8.8.8", 53))
    #expect(
      bench.receive(Datagram.udp("8.8.8.8", 53, "192.0.2.1", 30_000)).map(\.line)
        == ["8.8.8.8:53 > 10.0.0.5:30000 udp"])
  }

  @Test func insidersReachEachOtherByTheirOuterAddresses() throws {
    var bench = try Self.source()
    _ = bench.receive(Datagram.udp("10.0.0.5", 30_000, "8.8.8.8", 53))
    _ = bench.receive(Datagram.udp("10.0.0.6", 30_001, "8.8.8.8", 53))
    #expect(
      bench.receive(Datagram.udp("10.0.0.5", 30_000, "192.0.2.1", 30_001)).map(\.line)
        == ["192.0.2.1:30000 > 10.0.0.6:30001 udp"])
  }

  // MARK: Time

  @Test func silentMappingsGiveTheirPortsBack() throws {
    var bench = try Self.source(["ports": "7-7", "udp": "10"])
    #expect(bench.receive(Datagram.udp("10.0.0.5", 1, "8.8.8.8", 53)).count == 1)
    bench.now = bench.now + .seconds(9)
    #expect(bench.receive(Datagram.udp("8.8.8.8", 53, "192.0.2.1", 7)).map(\.line) == ["8.8.8.8:53 > 10.0.0.5:1 udp"])
    bench.now = bench.now + .seconds(9)
    #expect(bench.receive(Datagram.udp("10.0.0.6", 1, "8.8.8.8", 53)).count == 0)
    bench.now = bench.now + .seconds(1)
    #expect(bench.receive(Datagram.udp("10.0.0.6", 1, "8.8.8.8", 53)).map(\.line) == ["192.0.2.1:7 > 8.8.8.8:53 udp"])
    #expect(bench.receive(Datagram.udp("8.8.8.8", 53, "192.0.2.1", 7)).map(\.line) == ["8.8.8.8:53 > 10.0.0.6:1 udp"])
  }

  @Test func openConnectionMayBeSilentForLonger() throws {
    var bench = try Self.source(["ports": "7-7", "transitory": "10", "established": "100"])
    func isMapped(after seconds: Int64, _ bench: inout PacketBench) -> Bool {
      bench.now = bench.now + .seconds(seconds)
      return bench.receive(Datagram.tcp("8.8.8.8", 80, "192.0.2.1", 7))[0].line.hasSuffix("10.0.0.5:1 tcp")
    }
    let (out, back) = (
      { (flags: UInt8) in Datagram.tcp("10.0.0.5", 1, "8.8.8.8", 80, flags: flags) },
      { (flags: UInt8) in Datagram.tcp("8.8.8.8", 80, "192.0.2.1", 7, flags: flags) }
    )
    _ = bench.receive(out(0x02))
    #expect(!isMapped(after: 10, &bench))
    for packet in [out(0x02), back(0x12), out(0x10)] { _ = bench.receive(packet) }
    #expect(isMapped(after: 99, &bench))
    #expect(isMapped(after: 99, &bench))
    // Closed by both, it is soon forgotten; so it is after a reset.
    for packet in [out(0x11), back(0x11), out(0x10)] { _ = bench.receive(packet) }
    #expect(!isMapped(after: 10, &bench))
    for packet in [out(0x02), back(0x12), out(0x10), back(0x04)] { _ = bench.receive(packet) }
    #expect(!isMapped(after: 10, &bench))
  }

  @Test func mappingsAreBounded() throws {
    var bench = try Self.source(["limit": "2"])
    for port in 1...3 as ClosedRange<UInt16> { _ = bench.receive(Datagram.udp("10.0.0.5", port, "8.8.8.8", 53)) }
    #expect(bench.count("mappings") == 2)
    #expect(bench.count("exhausted") == 1)
  }

  @Test func workersShareTheMappings() throws {
    let module = try PacketBench.make(NAT.self, ["source": "192.0.2.1"])
    let match = try Match(parsing: "ip,ipv4_src=10.0.0.0/24", portNamed: { _ in nil })
    var one = PacketBench(module, match: match)
    var other = PacketBench(module, match: match)
    _ = one.receive(Datagram.udp("10.0.0.5", 30_000, "8.8.8.8", 53))
    let answer = Datagram.udp("8.8.8.8", 53, "192.0.2.1", 30_000)
    #expect(other.receive(answer).map(\.line) == ["8.8.8.8:53 > 10.0.0.5:30000 udp"])
    // Also once it is set anew.
    let newer = try PacketBench.make(NAT.self, ["source": "192.0.2.9"])
    one.configure(newer, revision: 1, match)
    other.configure(newer, revision: 1, match)
    #expect(
      other.receive(Datagram.udp("10.0.0.5", 30_001, "8.8.8.8", 53)).map(\.line) == ["192.0.2.9:30001 > 8.8.8.8:53 udp"]
    )
    #expect(
      one.receive(Datagram.udp("8.8.8.8", 53, "192.0.2.9", 30_001)).map(\.line) == ["8.8.8.8:53 > 10.0.0.5:30001 udp"])
    // What was mapped keeps its address.
    #expect(
      one.receive(Datagram.udp("10.0.0.5", 30_000, "8.8.8.8", 53)).map(\.line) == ["192.0.2.1:30000 > 8.8.8.8:53 udp"])
  }

  // MARK: Destinations

  static func destination() throws -> PacketBench {
    try PacketBench(NAT.self, ["destination": "10.0.0.5:80"], match: "ip,ipv4_dst=192.0.2.1")
  }

  @Test func destinationIsTranslatedAndItsAnswersBack() throws {
    var bench = try Self.destination()
    for host in ["8.8.8.8", "9.9.9.9"] {
      #expect(
        bench.receive(Datagram.tcp(host, 5, "192.0.2.1", 8_080, flags: 2)).map(\.line) == [
          "\(host):5 > 10.0.0.5:80 tcp"
        ])
    }
    #expect(
      bench.receive(Datagram.tcp("10.0.0.5", 80, "9.9.9.9", 5, flags: 0x12)).map(\.line) == [
        "192.0.2.1:8080 > 9.9.9.9:5 tcp"
      ])
    #expect(bench.receive(Datagram.tcp("10.0.0.5", 81, "9.9.9.9", 5)).map(\.line) == ["10.0.0.5:81 > 9.9.9.9:5 tcp"])
    #expect(bench.receive(Datagram.echo("8.8.8.8", "192.0.2.1", 9)).map(\.line) == ["8.8.8.8 > 10.0.0.5 echo 9"])
    #expect(
      bench.receive(Datagram.echo("10.0.0.5", "8.8.8.8", 9, isReply: true)).map(\.line) == [
        "192.0.2.1 > 8.8.8.8 echo 9"
      ])
  }

  @Test func errorsAboutATranslatedDestination() throws {
    var bench = try Self.destination()
    let question = Datagram.udp("8.8.8.8", 5, "192.0.2.1", 53)
    let inside = try #require(bench.receive(question).first)
    let error = try #require(bench.receive(Datagram.unreachable("10.0.0.1", "8.8.8.8", about: inside)).first)
    #expect(error.line == "192.0.2.1 > 8.8.8.8 error (8.8.8.8:5 > 192.0.2.1:53 udp)")
    #expect(Array(error[28...]) == question)
    let answer = Datagram.udp("10.0.0.5", 80, "8.8.8.8", 5)
    let outside = try #require(bench.receive(answer).first)
    let back = try #require(bench.receive(Datagram.unreachable("8.8.8.8", "192.0.2.1", about: outside)).first)
    #expect(back.line == "8.8.8.8 > 10.0.0.5 error (10.0.0.5:80 > 8.8.8.8:5 udp)")
    #expect(Array(back[28...]) == answer)
  }

  // MARK: Prefixes

  /// The example of RFC 6296 section 3.2.
  @Test func prefixIsTranslatedAsInTheRFC() throws {
    var bench = try PacketBench(
      NAT.self, ["prefix": "fd01:203:405::/48", "to": "2001:db8:1::/48"], match: "ipv6,ipv6_src=fd01:203:405::/48")
    let packet = Datagram.udp("fd01:203:405:1::1234", 5, "2001:db8:9::1", 53)
    let sent = try #require(bench.receive(packet).first)
    #expect(sent.line == "2001:db8:1:d550::1234:5 > 2001:db8:9::1:53 udp")
    // Neutral to checksums: nothing but the address has changed.
    #expect(sent[24...] == packet[24...])
    #expect(
      bench.receive(Datagram.udp("2001:db8:9::1", 53, "2001:db8:1:d550::1234", 5)).map(\.line)
        == ["2001:db8:9::1:53 > fd01:203:405:1::1234:5 udp"])
    let error = bench.receive(Datagram.unreachable("2001:db8:9::1", "2001:db8:1:d550::1234", about: sent))
    #expect(
      error.map(\.line)
        == ["2001:db8:9::1 > fd01:203:405:1::1234 error (fd01:203:405:1::1234:5 > 2001:db8:9::1:53 udp)"])
  }

  @Test func everyAddressComesBack() throws {
    for (inner, outer) in [
      ("fd00:1::/32", "2001:db8::/32"), ("fd00:1::/48", "2001:db8::/48"), ("fd00:1:2:3::/64", "2001:db8:7:8::/64"),
    ] {
      var bench = try PacketBench(NAT.self, ["prefix": inner, "to": outer], match: "ipv6,ipv6_src=\(inner)")
      for interface in ["::1", "::ffff:1", ":ffff:ffff:ffff:1", ":0:1:2:3"] {
        let host = (inner.hasSuffix("/64") ? "fd00:1:2:3" : "fd00:1:0:3") + interface
        let packet = Datagram.udp(host, 5, "2001:db8:9::1", 53)
        let sent = try #require(bench.receive(packet).first)
        #expect(sent.line.hasPrefix("2001:db8:"))
        var answer = sent
        answer.replaceSubrange(8..<24, with: sent[24..<40])
        answer.replaceSubrange(24..<40, with: sent[8..<24])
        let back = try #require(bench.receive(answer).first)
        #expect(back[24..<40] == packet[8..<24])
      }
    }
  }

  @Test func subnetThatHasNoCounterpartIsRefused() throws {
    var bench = try PacketBench(
      NAT.self, ["prefix": "fd01:203:405::/48", "to": "2001:db8:1::/48"], match: "ipv6,ipv6_src=fd01:203:405::/48")
    let out = bench.receive(Datagram.udp("fd01:203:405:ffff::1", 5, "2001:db8:9::1", 53))
    #expect(out.map { String($0.line.prefix(42)) } == ["2001:db8:9::1 > fd01:203:405:ffff::1 error"])
    #expect(bench.count("untranslatable") == 1)
  }

  // MARK: Arguments

  @Test(arguments: [
    [:], ["source": "192.0.2.1", "destination": "10.0.0.1"], ["source": "192.0.2"], ["source": "192.0.2.9-192.0.2.1"],
    ["source": "192.0.2.1-193.0.2.1"], ["source": "192.0.2.1", "ports": "0-5"], ["source": "192.0.2.1", "ports": "9"],
    ["destination": "10.0.0.1:0"], ["destination": "10.0.0.1:x"], ["destination": "fd00::1:80x"],
    ["prefix": "fd00::/48"], ["prefix": "fd00::/48", "to": "fd01::/56"], ["prefix": "10.0.0.0/8", "to": "11.0.0.0/8"],
    ["prefix": "fd00::1/48", "to": "fd01::/48"], ["prefix": "fd00::/80", "to": "fd01::/80"],
  ])
  func argumentsThatMakeNoSense(arguments: [String: String]) {
    #expect(throws: ArgumentError.self) { try PacketBench.make(NAT.self, arguments) }
  }

  @Test func destinationOfIPv6HasItsPortBehindBrackets() throws {
    var bench = try PacketBench(NAT.self, ["destination": "[fd00::5]:80"], match: "ipv6,ipv6_dst=2001:db8::1")
    #expect(
      bench.receive(Datagram.udp("2001:db8::2", 5, "2001:db8::1", 53)).map(\.line) == ["2001:db8::2:5 > fd00::5:80 udp"]
    )
  }
}
