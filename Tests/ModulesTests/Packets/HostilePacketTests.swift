import Engine
import ModuleTesting
import Modules
import Testing

/// Packets that are hardly packets: no module fails over them, and what it changes is sound where it was.
@Suite struct HostilePacketTests {
  static let seeds: [Packet] = {
    let udp = Packet.udp("10.0.0.5", 5, to: "8.8.8.8", 53)
    let udp6 = Packet.udp("fd00:1::5", 5, to: "2001:db8::1", 53)
    // A routing header with a place to go, so that what stands behind it is not looked into.
    let routed = Packet.ip("fd00:1::5", to: "2001:db8::1", 43, payload: [6, 0, 0, 1, 0, 0, 0, 0, 1, 2])
    let routedError = Packet.ip("fd00:1::5", to: "2001:db8::1", 43, payload: [58, 0, 0, 1, 0, 0, 0, 0])
    return [
      udp, udp6, routed, routedError, Packet.tcp("10.0.0.5", 5, to: "192.0.2.1", 80, flags: .syn),
      Packet.tcp("fd00:1::5", 5, to: "2001:db8::1", 80), Packet.echo("10.0.0.5", to: "8.8.8.8", 5),
      Packet.echo("fd00:1::5", to: "2001:db8::1", 5), Packet.unreachable("1.1.1.1", to: "192.0.2.1", about: udp),
      Packet.unreachable("10.0.0.5", to: "8.8.8.8", about: udp),
      Packet.unreachable("fd00:1::9", to: "fd00:1::5", about: udp6),
      Packet.ip("10.0.0.5", to: "8.8.8.8", 47, payload: [1]),
    ]
  }()

  @Test(arguments: 0..<6) func noModuleFails(seed: Int) throws {
    var random = SplitMix(seed: seed)
    var benches =
      [
        try PacketBench.make(NAT.self, ["source": "192.0.2.1", "limit": "100"]),
        try PacketBench.make(NAT.self, ["source": "2001:db8::7"]),
        try PacketBench.make(NAT.self, ["destination": "10.0.0.5:80"]),
        try PacketBench.make(NAT.self, ["prefix": "fd00:1::/32", "to": "2001:db8::/32"]),
        try PacketBench.make(IPChecksum.self, ["mend": "true"]),
        try PacketBench.make(Firewall.self, ["action": "reject"]),
      ] as [any ProcessingModule]
    let module = benches.remove(at: seed)
    for match in ["any", "ip,ipv4_src=10.0.0.0/8", "udp"] {
      let bench = try PacketBench(copyOf: module, match: match)
      for _ in 0..<3_000 {
        var packet = Self.seeds.randomElement(using: &random)!
        if Bool.random(using: &random) { packet.damage(using: &random) }
        bench.pass(.milliseconds(Int64.random(in: 0...500, using: &random)))
        let outcome = bench.receive(packet)
        #expect(outcome.fault == nil, "\(packet): \(outcome)")
      }
      #expect(bench.failure == nil)
    }
  }
}
