import Engine
import ModuleTesting
import Modules
import Testing

@Suite struct FirewallTests {
  @Test func dropsOrRejectsItsFlowAndNoOther() throws {
    let packet = Packet.udp("10.0.0.5", 1, to: "8.8.8.8", 53)
    let silent = try PacketBench(Firewall.self, match: "udp,udp_dst=53")
    #expect(silent.receive(packet).fate == .dropped)
    #expect(silent.receive(Packet.udp("8.8.8.8", 53, to: "10.0.0.5", 1)).fate == .passed)
    #expect(silent.count("packets") == 1)
    let telling = try PacketBench(Firewall.self, with: ["action": "reject"], match: "udp,udp_dst=53")
    #expect("\(telling.receive(packet))" == "refused: 8.8.8.8 > 10.0.0.5 error (\(packet))")
    #expect(throws: ArgumentError.self) { try PacketBench.make(Firewall.self, ["action": "shout"]) }
  }
}
