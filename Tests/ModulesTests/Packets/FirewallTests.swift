import Engine
import Testing

@testable import Modules

@Suite struct FirewallTests {
  @Test func dropsOrRejectsItsFlowAndNoOther() throws {
    let packet = Datagram.udp("10.0.0.5", 1, "8.8.8.8", 53)
    var silent = try PacketBench(Firewall.self, [:], match: "udp,udp_dst=53")
    #expect(silent.receive(packet) == [])
    #expect(silent.receive(Datagram.udp("8.8.8.8", 53, "10.0.0.5", 1)).count == 1)
    #expect(silent.count("packets") == 1)
    var telling = try PacketBench(Firewall.self, ["action": "reject"], match: "udp,udp_dst=53")
    #expect(telling.receive(packet).map(\.line) == ["8.8.8.8 > 10.0.0.5 error (\(packet.line))"])
    #expect(throws: ArgumentError.self) { try PacketBench.make(Firewall.self, ["action": "shout"]) }
  }
}
