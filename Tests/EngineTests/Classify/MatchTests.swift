import ModuleTesting
import Testing

@testable import Engine

/// The interfaces that the tests know.
func interface(_ name: String) -> UInt32? { ["eth0": 2, "wan": 7][name] }

@Suite struct MatchTests {
  private func refusal(_ text: String) -> String? {
    do {
      _ = try Match(parsing: text, portNamed: interface)
      return nil
    } catch { return error.description }
  }

  @Test(arguments: [
    ("any", "any"), ("ip", "ip"), ("ipv6", "ipv6"), ("tcp", "tcp"), ("tcp6", "tcp6"), ("udp", "udp"),
    ("udp6", "udp6"), ("icmp", "icmp"), ("icmp6", "icmp6"), (" tcp , tcp_dst=80 ", "tcp,tcp_dst=80"),
    ("eth_type=0x0800", "ip"), ("dl_type=0x86DD", "ipv6"), ("dl_type=2054", "eth_type=0x806"),
    ("eth_type=0x800,ip_proto=6", "tcp"), ("ipv6,nw_proto=58", "icmp6"), ("ip,ip_proto=47", "ip,ip_proto=47"),
    ("ipv6,ip_proto=1", "ipv6,ip_proto=1"), ("ip_proto=6", "ip_proto=6"), ("ip,tcp", "tcp"),
    ("tcp,ip_proto=6", "tcp"),
    ("in_port=2", "in_port=2"), ("in_port=eth0", "in_port=eth0"), ("tcp,in_port=wan", "tcp,in_port=wan"),
    ("eth_src=2:0:0:0:0:A", "eth_src=02:00:00:00:00:0a"),
    ("dl_src=02:03:04:05:06:07/ff:ff:ff:00:00:00", "eth_src=02:03:04:00:00:00/ff:ff:ff:00:00:00"),
    ("vlan_vid=100", "vlan_vid=100"), ("dl_vlan=0x64", "vlan_vid=100"), ("vlan_vid=0x1064", "vlan_vid=100"),
    ("vlan_vid=0x1000/0x1000", "vlan_vid=0x1000/0x1000"), ("vlan_vid=8/0xff8", "vlan_vid=0x1008/0x1ff8"),
    ("dl_vlan=0xffff", "vlan_vid=0x0/0x1000"), ("vlan_vid=0/0x1000", "vlan_vid=0x0/0x1000"),
    ("ip_dscp=46", "ip_dscp=46"), ("ip,nw_tos=184", "ip,ip_dscp=46"), ("nw_ecn=3", "ip_ecn=3"),
    ("ip,nw_src=10.1.2.3", "ip,ipv4_src=10.1.2.3"), ("ip,ip_dst=10.1.2.3/8", "ip,ipv4_dst=10.0.0.0/8"),
    ("tcp,nw_dst=10.1.2.3/255.255.0.0", "tcp,ipv4_dst=10.1.0.0/16"),
    ("tcp,ipv4_src=10.1.2.3/255.0.0.255", "tcp,ipv4_src=10.0.0.3/255.0.0.255"), ("ip,ip_src=1.2.3.4/0", "ip"),
    ("ipv6,ipv6_src=2001:DB8::1", "ipv6,ipv6_src=2001:db8::1"),
    ("tcp6,ipv6_dst=2001:db8:1::1/32", "tcp6,ipv6_dst=2001:db8::/32"),
    ("ipv6,ipv6_dst=2001:db8::1:0:0:1/65", "ipv6,ipv6_dst=2001:db8::/65"),
    ("ipv6,ipv6_dst=::1/::ffff", "ipv6,ipv6_dst=::1/::ffff"),
    ("ipv6,ipv6_src=::ffff:1.2.3.4", "ipv6,ipv6_src=::ffff:102:304"),
    ("ipv6,ipv6_src=::/0", "ipv6"), ("ipv6,ipv6_src=2001:db8::/ffff:ffff::", "ipv6,ipv6_src=2001:db8::/32"),
    ("tcp_dst=80,tcp", "tcp,tcp_dst=80"), ("tcp,tp_src=80", "tcp,tcp_src=80"), ("udp6,tp_dst=53", "udp6,udp_dst=53"),
    ("ip_proto=6,tcp_src=443", "ip_proto=6,tcp_src=443"), ("tcp,tcp_dst=80-90", "tcp,tcp_dst=80-90"),
    ("tcp,tcp_dst=80-80", "tcp,tcp_dst=80"), ("tcp,tcp_dst=80/0xfff0", "tcp,tcp_dst=80-95"),
    ("tcp,tcp_dst=80/0xf00f", "tcp,tcp_dst=0/0xf00f"), ("tcp,tcp_dst=0-65535", "tcp"),
    ("tcp,tcp_dst=0", "tcp,tcp_dst=0"),
    ("udp,udp_src=1,udp_dst=2", "udp,udp_src=1,udp_dst=2"),
    ("icmp,icmp_type=8,icmp_code=0", "icmp,icmpv4_type=8,icmpv4_code=0"),
    ("icmp6,icmp_type=128", "icmp6,icmpv6_type=128"),
    ("ip_proto=1,icmpv4_type=8", "ip_proto=1,icmpv4_type=8"),
    ("pkt_mark=255", "pkt_mark=0xff"), ("pkt_mark=0x1ff/0xff", "pkt_mark=0xff/0xff"), ("pkt_mark=1/0", "any"),
    (
      "pkt_mark=1,tcp_dst=80,ip_dscp=1,vlan_vid=2,in_port=3,tcp,eth_src=1:2:3:4:5:6,nw_src=1.1.1.1",
      "tcp,in_port=3,eth_src=01:02:03:04:05:06,vlan_vid=2,ip_dscp=1,ipv4_src=1.1.1.1,tcp_dst=80,pkt_mark=0x1"
    ),
  ])
  func textIsReadAndWrittenCanonically(text: String, canonical: String) throws {
    let match = try Match(parsing: text, portNamed: interface)
    #expect(match.description == canonical)
    #expect(try Match(parsing: canonical, portNamed: interface) == match)
  }

  @Test(arguments: [
    ("", "the match is empty; write any to match everything"),
    ("tcp,,tcp_dst=80", "the match 'tcp,,tcp_dst=80' has an empty term; remove the needless comma"),
    ("tcp,", "the match 'tcp,' has an empty term; remove the needless comma"),
    ("any,tcp", "any stands alone; remove it from 'any,tcp'"),
    ("tcp,tcp_dts=80", "unknown field 'tcp_dts' in 'tcp_dts=80'; did you mean tcp_dst?"),
    ("ipv4src=1.2.3.4", "unknown field 'ipv4src' in 'ipv4src=1.2.3.4'; did you mean ipv4_src?"),
    ("tpc", "unknown keyword 'tpc'; did you mean tcp?"),
    (
      "colour=red",
      """
      unknown field 'colour' in 'colour=red'; the fields are in_port, eth_src, eth_type, vlan_vid, ip_proto, ip_dscp, \
      ip_ecn, ipv4_src, ipv4_dst, ipv6_src, ipv6_dst, tcp_src, tcp_dst, udp_src, udp_dst, icmpv4_type, icmpv4_code, \
      icmpv6_type, icmpv6_code, pkt_mark, the keywords ip, ipv6, tcp, tcp6, udp, udp6, icmp, icmp6 and any
      """
    ),
    ("tcp=80", "tcp is a keyword and takes no value in 'tcp=80'; write tcp alone"),
    ("tcp,tcp_dst", "tcp_dst needs a value, as in tcp_dst=80"),
    ("tcp,tcp_dst=", "tcp_dst needs a value, as in tcp_dst=80"),
    (
      "eth_dst=02:00:00:00:00:01",
      """
      'eth_dst=02:00:00:00:00:01' cannot be matched: NFQUEUE does not show the frame's destination address; \
      match eth_src or in_port instead
      """
    ),
    ("arp", "'arp' cannot be matched: NFQUEUE hands over IP packets only; remove it"),
    ("tcp_dst=80", "tcp_dst=80 needs tcp, tcp6 or ip_proto=6; write tcp,tcp_dst=80"),
    ("ipv6,tcp_dst=80", "tcp_dst=80 needs tcp, tcp6 or ip_proto=6; write tcp6,ipv6,tcp_dst=80"),
    ("udp_src=53", "udp_src=53 needs udp, udp6 or ip_proto=17; write udp,udp_src=53"),
    ("tp_dst=80", "tp_dst=80 needs tcp, tcp6, udp, udp6, ip_proto=6 or ip_proto=17; write tcp,tp_dst=80"),
    ("icmp_type=8", "icmp_type=8 needs icmp, icmp6, ip_proto=1 or ip_proto=58; write icmp,icmp_type=8"),
    ("icmpv6_type=128", "icmpv6_type=128 needs icmp6 or ip_proto=58; write icmp6,icmpv6_type=128"),
    ("nw_src=10.0.0.1", "nw_src=10.0.0.1 needs ip, tcp, udp, icmp or eth_type=0x0800; write ip,nw_src=10.0.0.1"),
    (
      "ip_proto=6,ipv4_src=10.0.0.1",
      "ipv4_src=10.0.0.1 needs ip, tcp, udp, icmp or eth_type=0x0800; write ip,ip_proto=6,ipv4_src=10.0.0.1"
    ),
    ("ipv6_dst=::1", "ipv6_dst=::1 needs ipv6, tcp6, udp6, icmp6 or eth_type=0x86dd; write ipv6,ipv6_dst=::1"),
    ("tcp,udp_src=53", "udp_src=53 contradicts tcp: it needs udp, udp6 or ip_proto=17"),
    ("icmp,tp_dst=1", "tp_dst=1 contradicts icmp: it needs tcp, tcp6, udp, udp6, ip_proto=6 or ip_proto=17"),
    ("tcp,udp", "udp contradicts tcp: no packet is both; remove one"),
    ("tcp,tcp6", "tcp6 contradicts tcp: no packet is both; remove one"),
    ("tcp,ip_proto=17", "ip_proto=17 contradicts tcp: no packet is both; remove one"),
    ("tcp6,ipv4_src=1.2.3.4", "ipv4_src=1.2.3.4 contradicts tcp6: it needs ip, tcp, udp, icmp or eth_type=0x0800"),
    ("ip,ipv6_src=::1", "ipv6_src=::1 contradicts ip: it needs ipv6, tcp6, udp6, icmp6 or eth_type=0x86dd"),
    ("eth_type=0x0806,ip_proto=6", "ip_proto=6 contradicts eth_type=0x0806: ip_proto needs ip or ipv6"),
    ("eth_type=0x0806,ip_dscp=1", "ip_dscp=1 contradicts eth_type=0x0806: ip_dscp needs ip or ipv6"),
    ("eth_type=0x0806,tcp_dst=1", "tcp_dst=1 contradicts eth_type=0x0806: tcp_dst needs ip or ipv6"),
    ("tcp,tcp", "tcp is given twice; remove one"),
    ("tcp,tcp_dst=80,tcp_dst=81", "tcp_dst=81 repeats tcp_dst, given already in tcp_dst=80; remove one"),
    ("tcp,tcp_dst=80,tp_dst=80", "tp_dst=80 repeats tcp_dst, given already in tcp_dst=80; remove one"),
    ("ip,ip_proto=6,nw_proto=6", "nw_proto=6 repeats ip_proto, given already in ip_proto=6; remove one"),
    ("tcp,tcp_dst=70000", "tcp_dst=70000 is out of range; tcp_dst takes 0 to 65535"),
    (
      "tcp,tcp_dst=99999999999999999999999", "tcp_dst=99999999999999999999999 is out of range; tcp_dst takes 0 to 65535"
    ),
    ("tcp,tcp_dst=http", "'http' in tcp_dst=http is no number; write one of 0 to 65535"),
    ("tcp,tcp_dst=+80", "'+80' in tcp_dst=+80 is no number; write one of 0 to 65535"),
    ("tcp,tcp_dst=90-80", "tcp_dst=90-80 is an empty range; write tcp_dst=80-90"),
    ("tcp,tcp_dst=80-", "'' in tcp_dst=80- is no number; write one of 0 to 65535"),
    ("ip_proto=256", "ip_proto=256 is out of range; ip_proto takes 0 to 255"),
    ("ip_proto=6/7", "ip_proto takes no mask; write ip_proto=6"),
    ("ip_dscp=64", "ip_dscp=64 is out of range; ip_dscp takes 0 to 63"),
    ("nw_tos=185", "nw_tos=185 has ECN bits set, which nw_tos does not match; write ip_dscp=46,ip_ecn=1"),
    ("vlan_vid=8192", "vlan_vid=8192 is out of range; vlan_vid takes 0 to 4095"),
    ("pkt_mark=0x100000000", "pkt_mark=0x100000000 is out of range; pkt_mark takes 0 to 4294967295"),
    ("in_port=0", "in_port=0 is out of range; in_port takes an interface name, or an index of 1 to 4294967295"),
    ("in_port=eth9", "in_port=eth9 names no interface of this machine; 'ip link' lists them"),
    (
      "eth_src=1:2:3:4:5",
      """
      eth_src=1:2:3:4:5 is no Ethernet address; write six pairs, as in eth_src=02:00:00:00:00:01, and a mask likewise
      """
    ),
    (
      "ip,ipv4_src=10.0.0.0/33",
      "'/33' in ipv4_src=10.0.0.0/33 is no mask; write a prefix of 0 to 32, or a mask like an address"
    ),
    (
      "ipv6,ipv6_src=::/129",
      "'/129' in ipv6_src=::/129 is no mask; write a prefix of 0 to 128, or a mask like an address"
    ),
    ("ip,ipv4_src=10.0.0", "'10.0.0' in ipv4_src=10.0.0 is no IPv4 address; write one as in ipv4_src=192.0.2.0/24"),
    ("ip,nw_src=::1", "nw_src=::1 is an IPv6 address; write ipv6,ipv6_src=::1"),
    ("ipv6,ipv6_dst=10.0.0.1", "ipv6_dst=10.0.0.1 is an IPv4 address; write ip,ipv4_dst=10.0.0.1"),
  ])
  func nonsenseIsRefusedWithTheMend(text: String, error: String) { #expect(refusal(text) == error) }

  /// What an error says to write is a match.
  @Test(arguments: [
    "tcp_dst=80", "ipv6,tcp_dst=80", "udp_src=53", "tp_dst=80", "ipv6,tp_dst=80", "icmp_type=8", "ipv6,icmp_type=8",
    "nw_src=10.0.0.1", "ip_proto=6,ipv4_src=10.0.0.1", "ipv6_dst=::1", "tcp,tcp_dst=90-80", "ip_proto=6/7",
    "nw_tos=185",
    "ip,nw_src=::1", "ipv6,ipv6_dst=10.0.0.1", "ip,ip_proto=1,ip_dscp=1/1",
  ])
  func mendsAreRight(text: String) throws {
    let error = try #require(refusal(text))
    let mend = try #require(error.split(separator: "; write ").last)
    #expect(refusal(String(mend)) == nil || refusal("tcp," + mend) == nil)
  }

  @Test func interfaceNamesAreAskedForOnce() throws {
    var asked: [String] = []
    let match = try Match(parsing: "in_port=wan") { name in
      asked.append(name)
      return interface(name)
    }
    #expect(asked == ["wan"])
    #expect(match[.inPort]?.value == 7)
  }

  @Test func randomTextsNeverTrap() {
    let pieces = [
      "tcp", "udp6", "ip", "any", "tcp_dst", "tp_src", "nw_src", "ipv6_src", "vlan_vid", "in_port", "eth_src",
      "pkt_mark", "=", "=",
      "=", ",", ",", "/", "-", "80", "0x", "0xfff", "10.0.0.0", "::", "65535", "99999999999999999999",
      "ff:ff:ff:ff:ff:ff", "é", " ",
    ]
    var random = SplitMix(seed: 6)
    for _ in 0..<20_000 {
      let text = (0..<Int.random(in: 0...9, using: &random)).map { _ in pieces.randomElement(using: &random)! }.joined()
      guard let match = try? Match(parsing: text, portNamed: interface) else { continue }
      #expect((try? Match(parsing: match.description, portNamed: interface)) == match)
    }
  }
}
