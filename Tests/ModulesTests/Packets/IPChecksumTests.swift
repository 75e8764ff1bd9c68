import Engine
import ModuleTesting
import Modules
import Testing

@Suite struct IPChecksumTests {
  static let packets = [
    Packet.udp("10.0.0.5", 1, to: "8.8.8.8", 53), Packet.tcp("10.0.0.5", 1, to: "8.8.8.8", 53),
    Packet.echo("10.0.0.5", to: "8.8.8.8", 5), Packet.udp("fd00::5", 1, to: "fd00::6", 53),
    Packet.tcp("fd00::5", 1, to: "fd00::6", 53), Packet.echo("fd00::5", to: "fd00::6", 5),
  ]

  @Test func countsAndChangesNothing() throws {
    let bench = try PacketBench(IPChecksum.self, with: [:])
    for packet in Self.packets { #expect(bench.receive(packet).leaving == [packet]) }
    for packet in Self.packets {
      var damaged = packet
      damaged.octets[damaged.octets.count - 1] ^= 1
      #expect(bench.receive(damaged).leaving == [damaged])
    }
    #expect(bench.count("good") == 6)
    #expect(bench.count("bad") == 6)
    #expect(bench.count("mended") == 0)
  }

  @Test func mendsWhereItIsToldTo() throws {
    let bench = try PacketBench(IPChecksum.self, with: ["mend": "true"])
    for packet in Self.packets {
      let checksums =
        !packet.isIPv6
        ? [10, 20 + [6: 16, 17: 6][packet.protocolNumber, default: 2]]
        : [40 + [6: 16, 17: 6][packet.protocolNumber, default: 2]]
      for field in checksums {
        var damaged = packet
        damaged.octets[field] ^= 0x55
        #expect(bench.receive(damaged).leaving == [packet])
      }
      #expect(bench.receive(packet).leaving == [packet])
    }
    #expect(bench.count("mended") == 9)
    #expect(bench.count("good") == 6)
  }

  @Test func datagramWithoutChecksumIsGood() throws {
    let bench = try PacketBench(IPChecksum.self, with: ["mend": "true"])
    var packet = Self.packets[0]
    packet.octets[26] = 0
    packet.octets[27] = 0
    #expect(bench.receive(packet).leaving == [packet])
    #expect(bench.count("good") == 1)
    // Also where the header in front of it is mended.
    var damaged = packet
    damaged.octets[10] ^= 1
    #expect(bench.receive(damaged).leaving == [packet])
  }
}
