import ModuleTesting
import Testing

@testable import Engine

@Suite struct ClassifierTests {
  private static func match(_ text: String) throws -> Match { try Match(parsing: text, portNamed: interface) }

  private static func key(_ packet: [UInt8], _ metadata: PacketMetadata = PacketMetadata()) throws -> FlowKey {
    FlowKey(try #require(packet.parsed()), metadata)
  }

  private static let everything: PacketMetadata = {
    var metadata = PacketMetadata()
    metadata.inPort = 2
    metadata.mark = 0x1234
    metadata.ethernetSource = 0x0203_0405_0607
    metadata.vlan = 100
    return metadata
  }()

  /// 192.0.2.1:40000 to 198.51.100.7:80, traffic class 0xb9.
  private static let tcp4 = PacketBytes.ipv4(PacketBytes.tcp())
  /// 2001:db8::1 to 2001:db8::2.
  private static let tcp6 = PacketBytes.ipv6(PacketBytes.tcp())
  private static let udp4 = PacketBytes.ipv4(PacketBytes.udp([]), protocolNumber: 17)
  private static let udp6 = PacketBytes.ipv6(PacketBytes.udp([]), next: 17)
  private static let echo4 = PacketBytes.ipv4([8, 0, 0, 0, 0, 0, 0, 0], protocolNumber: 1)
  private static let echo6 = PacketBytes.ipv6([128, 0, 0, 0, 0, 0, 0, 0], next: 58)
  private static let fragment4 = PacketBytes.ipv4(PacketBytes.tcp(), fragmentation: 0x2000)

  @Test(
    arguments: [
      ("any", [tcp4, tcp6, udp4, udp6, echo4, echo6, fragment4]), ("ip", [tcp4, udp4, echo4, fragment4]),
      ("ipv6", [tcp6, udp6, echo6]), ("tcp", [tcp4, fragment4]), ("tcp6", [tcp6]),
      ("ip_proto=6", [tcp4, tcp6, fragment4]),
      ("udp", [udp4]), ("udp6", [udp6]), ("icmp", [echo4]), ("icmp6", [echo6]), ("eth_type=0x0806", []),
      ("tcp,tcp_dst=80", [tcp4]), ("ip_proto=6,tcp_dst=80", [tcp4, tcp6]), ("tcp,tcp_dst=80-90", [tcp4]),
      ("tcp,tcp_dst=81-90", []), ("tcp,tcp_dst=0x40/0xffe0", [tcp4]), ("tcp,tcp_src=40000", [tcp4]),
      ("tcp,tcp_dst=40000", []),
      ("udp,udp_dst=53", [udp4]), ("ip_proto=17,udp_src=5353", [udp4, udp6]),
      ("icmp,icmp_type=8", [echo4]), ("icmp,icmp_type=0", []), ("icmp,icmp_code=0", [echo4]),
      ("icmp6,icmp_type=128", [echo6]),
      ("tcp,ipv4_src=192.0.2.0/24", [tcp4, fragment4]), ("tcp,ipv4_dst=192.0.2.0/24", []),
      ("ip,ip_dst=198.51.100.7", [tcp4, udp4, echo4, fragment4]),
      ("tcp6,ipv6_src=2001:db8::/32", [tcp6]), ("tcp6,ipv6_dst=2001:db8::1", []), ("tcp6,ipv6_src=::1/::f", [tcp6]),
      ("ip_dscp=46", [tcp4, tcp6, udp4, udp6, echo4, echo6, fragment4]), ("ip_dscp=45", []),
      ("tcp,ip_ecn=1", [tcp4, fragment4]),
      ("tcp,in_port=eth0", [tcp4, fragment4]), ("tcp,in_port=wan", []), ("tcp,pkt_mark=0x1234", [tcp4, fragment4]),
      ("tcp,pkt_mark=0x34/0xff", [tcp4, fragment4]), ("tcp,pkt_mark=0x35/0xff", []),
      ("tcp,vlan_vid=100", [tcp4, fragment4]),
      ("tcp,vlan_vid=0x1000/0x1000", [tcp4, fragment4]), ("tcp,dl_vlan=0xffff", []), ("tcp,vlan_vid=101", []),
      ("tcp,eth_src=02:03:04:05:06:07", [tcp4, fragment4]),
      ("tcp,eth_src=02:03:04:00:00:00/ff:ff:ff:00:00:00", [tcp4, fragment4]),
      ("tcp,eth_src=02:03:05:00:00:00/ff:ff:ff:00:00:00", []),
    ] as [(String, [[UInt8]])])
  func aMatchTakesItsPacketsAndNoOthers(text: String, taken: [[UInt8]]) throws {
    let classifier = Classifier([(try Self.match(text), 0)])
    for packet in [Self.tcp4, Self.tcp6, Self.udp4, Self.udp6, Self.echo4, Self.echo6, Self.fragment4] {
      let found = classifier.lookup(try Self.key(packet, Self.everything))
      #expect(found == (taken.contains(packet) ? 0 : nil))
    }
  }

  @Test(arguments: [
    "eth_src=00:00:00:00:00:00", "eth_src=00:00:00:00:00:00/01:00:00:00:00:00", "vlan_vid=0", "vlan_vid=0x1000/0x1000",
  ])
  func whatIsNotKnownIsNotZero(text: String) throws {
    #expect(Classifier([(try Self.match(text), 0)]).lookup(try Self.key(Self.tcp4)) == nil)
  }

  @Test func fragmentsHaveNoPortZero() throws {
    #expect(Classifier([(try Self.match("tcp,tcp_dst=0"), 0)]).lookup(try Self.key(Self.fragment4)) == nil)
  }

  @Test func priorityDecidesThenOrder() throws {
    let classifier = Classifier([
      (try Self.match("any"), 1), (try Self.match("tcp"), 5), (try Self.match("tcp,tcp_dst=80"), 5),
      (try Self.match("tcp"), 9),
      (try Self.match("tcp"), 9), (try Self.match("udp,udp_dst=53"), -1),
    ])
    #expect(classifier.lookup(try Self.key(Self.tcp4)) == 3)
    #expect(classifier.lookup(try Self.key(Self.udp4)) == 0)
    #expect(Classifier([]).lookup(try Self.key(Self.udp4)) == nil)
    let equal = Classifier([(try Self.match("tcp,tcp_dst=80"), 5), (try Self.match("tcp"), 5)])
    #expect(equal.lookup(try Self.key(Self.tcp4)) == 0)
  }

  @Test func theReverseOfAKeyIsThatOfTheAnswer() throws {
    let answer = Array(PacketBytes.ipv4([]).prefix(12)) + [198, 51, 100, 7, 192, 0, 2, 1]
    let tcp = [0, 80, 0x9c, 0x40] + PacketBytes.tcp().dropFirst(4)
    var reply = answer + tcp
    reply[3] = UInt8(reply.count)
    #expect(try Self.key(Self.tcp4, Self.everything).reversed() == Self.key(reply, Self.everything))
    let echo = try Self.key(Self.echo4)
    #expect(echo.reversed().words[2] == echo.words[2], "type and code are no ports")
    #expect(echo.reversed().reversed() == echo)
  }

  @Test(arguments: [
    ("tcp,tcp_src=80,in_port=wan", true), ("tcp,tcp_src=80,eth_src=1:1:1:1:1:1", true),
    ("tcp,tcp_src=80,vlan_vid=9", true),
    ("tcp,tcp_src=80,pkt_mark=9", true), ("tcp,tcp_src=80,ip_dscp=9", true), ("tcp,tcp_src=80,dl_vlan=0xffff", true),
    ("tcp,tcp_dst=80", false), ("tcp,tcp_src=81,in_port=wan", false), ("tcp6", false), ("any", true),
    ("tcp,ipv4_src=198.51.100.0/24,tcp_src=1-1000,in_port=1", true), ("tcp,ipv4_src=192.0.2.0/24,in_port=1", false),
  ])
  func aPeerMayMatchWhateverItsLink(text: String, may: Bool) throws {
    let peer = try Self.key(Self.tcp4, Self.everything).reversed()
    #expect((Classifier([(try Self.match(text), 0)]).lookupWithoutLink(peer) != nil) == may)
  }

  @Test func rangesBecomePrefixesThatTakeJustTheirPorts() {
    var random = SplitMix(seed: 7)
    var ranges: [ClosedRange<UInt16>] = [0...0, 65535...65535, 1...65534, 0...65534, 1...65535, 0...65535, 80...90]
    for _ in 0..<200 {
      let bounds = [UInt16.random(in: 0...65535, using: &random), .random(in: 0...65535, using: &random)].sorted()
      ranges.append(bounds[0]...bounds[1])
    }
    for range in ranges {
      let prefixes = PortSet(range).prefixes
      #expect(prefixes.count <= 30)
      // Blocks that follow each other without a gap from the first port to the last.
      var next = Int(range.lowerBound)
      for (value, mask) in prefixes {
        #expect(Int(value) == next && value & ~mask == 0)
        next += Int(~mask) + 1
      }
      #expect(next == Int(range.upperBound) + 1)
    }
  }

  /// Against a search through the list, which asks each match field by field.
  @Test func randomRulesAgreeWithALinearSearch() throws {
    var random = SplitMix(seed: 8)
    for _ in 0..<60 {
      let rules = try (0..<Int.random(in: 1...40, using: &random)).map { _ in
        (try Self.match(Self.randomMatch(&random)), Int.random(in: 0...5, using: &random))
      }
      let classifier = Classifier(rules)
      for _ in 0..<60 {
        let packet = RandomPacket(&random)
        let key = try Self.key(packet.octets, packet.metadata)
        var best: Int?
        for (index, rule) in rules.enumerated() where packet.isTaken(by: rule.0.description) {
          if best.map({ rule.1 > rules[$0].1 }) ?? true { best = index }
        }
        #expect(classifier.lookup(key) == best)
        #expect(best == nil || classifier.lookupWithoutLink(key) != nil)
      }
    }
  }

  private static func randomMatch(_ random: inout SplitMix) -> String {
    let isTCP = Bool.random(using: &random)
    let isIPv6 = Bool.random(using: &random)
    var terms = [isTCP ? "tcp" : "udp"]
    if isIPv6 { terms[0] += "6" }
    let name = isTCP ? "tcp" : "udp"
    let port = { (random: inout SplitMix) in
      let first = Int.random(in: 0...7, using: &random)
      return ["\(first)", "\(first)-\(first + 3)", "\(first)/0xfffd"].randomElement(using: &random)!
    }
    if Bool.random(using: &random) { terms.append("\(name)_src=\(port(&random))") }
    if Bool.random(using: &random) { terms.append("\(name)_dst=\(port(&random))") }
    for side in ["src", "dst"] where Bool.random(using: &random) {
      let host = Int.random(in: 0...3, using: &random)
      terms.append(
        isIPv6
          ? "ipv6_\(side)=2001:db8::\(host)/\([126, 127, 128].randomElement(using: &random)!)"
          : "ipv4_\(side)=10.0.0.\(host)/\([30, 31, 32].randomElement(using: &random)!)")
    }
    if Int.random(in: 0...3, using: &random) == 0 { terms.append("in_port=\(Int.random(in: 1...2, using: &random))") }
    if Int.random(in: 0...3, using: &random) == 0 {
      terms.append("pkt_mark=\(Int.random(in: 0...3, using: &random))/0x2")
    }
    return terms.joined(separator: ",")
  }
}

/// A packet of few possible values, so that random rules meet it, and an independent judge of canonical texts.
private struct RandomPacket {
  let isIPv6: Bool
  let isTCP: Bool
  let hosts: [UInt8]
  let ports: [UInt8]
  let metadata: PacketMetadata

  init(_ random: inout SplitMix) {
    isIPv6 = .random(using: &random)
    isTCP = .random(using: &random)
    hosts = [.random(in: 0...3, using: &random), .random(in: 0...3, using: &random)]
    ports = [.random(in: 0...10, using: &random), .random(in: 0...10, using: &random)]
    var metadata = PacketMetadata()
    metadata.inPort = .random(in: 1...2, using: &random)
    metadata.mark = .random(in: 0...3, using: &random)
    self.metadata = metadata
  }

  var octets: [UInt8] {
    let full = isTCP ? PacketBytes.tcp() : PacketBytes.udp([])
    let transport = [0, ports[0], 0, ports[1]] + full.dropFirst(4)
    let number: UInt8 = isTCP ? 6 : 17
    var packet =
      isIPv6 ? PacketBytes.ipv6(transport, next: number) : PacketBytes.ipv4(transport, protocolNumber: number)
    if isIPv6 {
      (packet[23], packet[39]) = (hosts[0], hosts[1])
    } else {
      packet.replaceSubrange(12..<20, with: [10, 0, 0, hosts[0], 10, 0, 0, hosts[1]])
    }
    return packet
  }

  func isTaken(by text: String) -> Bool {
    text.split(separator: ",").allSatisfy { term in
      let halves = term.split(separator: "=").map(String.init)
      guard halves.count == 2 else { return term == (isTCP ? "tcp" : "udp") + (isIPv6 ? "6" : "") }
      let side = halves[0].hasSuffix("src") ? 0 : 1
      switch halves[0] {
      case "in_port": return metadata.inPort == UInt32(halves[1])
      case "pkt_mark": return metadata.mark & 2 == (halves[1] == "0x2/0x2" ? 2 : 0)
      case "ipv4_src", "ipv4_dst", "ipv6_src", "ipv6_dst":
        let parts = halves[1].split(separator: "/")
        let last = parts[0].split { $0 == "." || $0 == ":" }.last!
        let host = parts[0].hasSuffix("::") ? 0 : UInt8(last)!
        let free = (isIPv6 ? 128 : 32) - (parts.count == 2 ? Int(parts[1])! : isIPv6 ? 128 : 32)
        return hosts[side] >> UInt8(free) == host >> UInt8(free)
      default:
        if halves[1].contains("/") { return ports[side] & 0xfd == UInt8(halves[1].split(separator: "/")[0])! }
        let bounds = halves[1].split(separator: "-").map { UInt8($0)! }
        return (bounds.first!...bounds.last!).contains(ports[side])
      }
    }
  }
}
