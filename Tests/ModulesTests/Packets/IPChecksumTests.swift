import Engine
import Testing

@testable import Modules

@Suite struct IPChecksumTests {
  static let packets = [
    Datagram.udp("10.0.0.5", 1, "8.8.8.8", 53), Datagram.tcp("10.0.0.5", 1, "8.8.8.8", 53),
    Datagram.echo("10.0.0.5", "8.8.8.8", 5), Datagram.udp("fd00::5", 1, "fd00::6", 53),
    Datagram.tcp("fd00::5", 1, "fd00::6", 53), Datagram.echo("fd00::5", "fd00::6", 5),
  ]

  @Test func countsAndChangesNothing() throws {
    var bench = try PacketBench(IPChecksum.self, [:])
    for packet in Self.packets { #expect(bench.receive(packet) == [packet]) }
    for packet in Self.packets {
      var damaged = packet
      damaged[damaged.count - 1] ^= 1
      #expect(bench.receive(damaged) == [damaged])
    }
    #expect(bench.count("good") == 6)
    #expect(bench.count("bad") == 6)
    #expect(bench.count("mended") == 0)
  }

  @Test func mendsWhereItIsToldTo() throws {
    var bench = try PacketBench(IPChecksum.self, ["mend": "true"])
    for packet in Self.packets {
      let checksums =
        packet[0] >> 4 == 4
        ? [10, 20 + [6: 16, 17: 6][packet[9], default: 2]] : [40 + [6: 16, 17: 6][packet[6], default: 2]]
      for field in checksums {
        var damaged = packet
        damaged[field] ^= 0x55
        #expect(bench.receive(damaged) == [packet])
      }
      #expect(bench.receive(packet) == [packet])
    }
    #expect(bench.count("mended") == 9)
    #expect(bench.count("good") == 6)
  }

  @Test func datagramWithoutChecksumIsGood() throws {
    var bench = try PacketBench(IPChecksum.self, ["mend": "true"])
    var packet = Self.packets[0]
    packet[26] = 0
    packet[27] = 0
    #expect(bench.receive(packet) == [packet])
    #expect(bench.count("good") == 1)
    // Also where the header in front of it is mended.
    var damaged = packet
    damaged[10] ^= 1
    #expect(bench.receive(damaged) == [packet])
  }
}
