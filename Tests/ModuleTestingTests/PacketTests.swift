import ModuleTesting
import Testing

struct PacketTests {
  /// The example of RFC 1071's section 3 in a header that is known to be right: 192.168.0.1 to 192.168.0.199, as often quoted.
  @Test func checksumsAreThoseOfTheRFC() {
    var packet = Packet(
      [
        0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7,
      ] + [0, 1, 0, 2, 0, 95, 0, 0] + [UInt8](repeating: 7, count: 87))
    #expect(packet.fault == nil)
    packet.octets[11] ^= 1
    #expect(packet.fault == "the checksum of its IP header is wrong")
    packet.setChecksums()
    #expect(Array(packet.octets[10...11]) == [0xb8, 0x61])
  }

  static let packets = [
    Packet.udp("10.0.0.5", 1, to: "192.0.2.1", 53), Packet.tcp("10.0.0.5", 1, to: "192.0.2.1", 80, payload: [1, 2, 3]),
    Packet.echo("10.0.0.5", to: "192.0.2.1", 7), Packet.udp("fd00::5", 1, to: "fd00::6", 53),
    Packet.tcp("fd00::5", 1, to: "fd00::6", 80, flags: .syn, options: [3, 3, 7]),
    Packet.echo("fd00::5", to: "fd00::6", 7),
    Packet.unreachable("fd00::6", to: "fd00::5", about: .udp("fd00::5", 1, to: "fd00::6", 53)),
    Packet.ip("10.0.0.5", to: "192.0.2.1", 47, payload: [1]),
  ]

  @Test func saysWhatItIs() {
    #expect(
      Self.packets.map(\.description) == [
        "10.0.0.5:1 > 192.0.2.1:53 udp", "10.0.0.5:1 > 192.0.2.1:80 tcp", "10.0.0.5 > 192.0.2.1 echo 7",
        "[fd00::5]:1 > [fd00::6]:53 udp", "[fd00::5]:1 > [fd00::6]:80 tcp", "fd00::5 > fd00::6 echo 7",
        "fd00::6 > fd00::5 error ([fd00::5]:1 > [fd00::6]:53 udp)", "10.0.0.5 > 192.0.2.1 47",
      ])
    #expect(Self.packets[1].payload == [1, 2, 3])
    #expect(Self.packets[4].flags == .syn)
    #expect(Self.packets[4].octets.count == 64)
    #expect(Packet([1, 2]).description == "2 octets (its headers make no sense)")
  }

  /// A bit that is changed where a checksum stands over it is noticed.
  @Test func damageIsFound() {
    for packet in Self.packets {
      for index in packet.octets.indices {
        var damaged = packet
        damaged.octets[index] ^= 0x10
        // Neither of these is under a checksum: IPv6's header but for lengths and addresses, and what is not looked into.
        let isFree = packet.isIPv6 ? [0, 1, 2, 3, 6, 7].contains(index) : packet.protocolNumber == 47 && index == 20
        #expect(damaged.fault != nil || isFree, "\(packet), octet \(index)")
      }
    }
  }

  @Test func fragmentsAndWhatIsRoutedAreNotLookedInto() {
    var fragment = Self.packets[0]
    fragment.octets[6] = 0x20
    fragment.octets[27] ^= 1
    fragment.setChecksums()
    #expect(fragment.description == "10.0.0.5 > 192.0.2.1 fragment")
    let routed = Packet.ip("fd00::5", to: "fd00::6", 43, payload: [17, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 2, 0, 8, 9, 9])
    #expect(routed.fault == nil)
    // Whole, behind a header that says so (RFC 6946).
    let atomic = Packet.ip("fd00::5", to: "fd00::6", 44, payload: [17, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 2, 0, 8, 0, 0])
    #expect(atomic.description == "[fd00::5]:1 > [fd00::6]:2 udp")
    #expect(atomic.octets.suffix(2) != [0, 0])
  }

  @Test func whatIsRandomIsSoundAndRepeats() {
    var (one, other) = (SplitMix(seed: 5), SplitMix(seed: 5))
    let packets = Packet.random(500, using: &one)
    #expect(packets == Packet.random(500, using: &other))
    #expect(packets.allSatisfy { $0.fault == nil })
    #expect(Set(packets.map(\.protocolNumber)) == [1, 6, 17, 47, 58])
    let segments = Packet.connections(5, using: &one)
    #expect(segments.allSatisfy { $0.fault == nil && $0.protocolNumber == 6 })
    #expect(segments.count { $0.flags == .syn } == 5)
    for var packet in packets {
      packet.damage(using: &one)
      _ = packet.description
    }
  }
}
