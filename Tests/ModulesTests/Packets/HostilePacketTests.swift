import ModuleTesting
import Testing

@testable import Engine
@testable import Modules

/// Packets that are hardly packets: no module fails over them, and what it changes is sound where it was.
@Suite struct HostilePacketTests {
  static let seeds: [[UInt8]] = {
    let udp = Datagram.udp("10.0.0.5", 5, "8.8.8.8", 53)
    let udp6 = Datagram.udp("fd00:1::5", 5, "2001:db8::1", 53)
    // A routing header with a place to go, so that what stands behind it is not looked into.
    let routed = Datagram.packet("fd00:1::5", "2001:db8::1", 43, [6, 0, 0, 1, 0, 0, 0, 0, 1, 2])
    let routedError = Datagram.packet("fd00:1::5", "2001:db8::1", 43, [58, 0, 0, 1, 0, 0, 0, 0])
    return [
      udp, udp6, routed, routedError, Datagram.tcp("10.0.0.5", 5, "192.0.2.1", 80, flags: 2),
      Datagram.tcp("fd00:1::5", 5, "2001:db8::1", 80), Datagram.echo("10.0.0.5", "8.8.8.8", 5),
      Datagram.echo("fd00:1::5", "2001:db8::1", 5), Datagram.unreachable("1.1.1.1", "192.0.2.1", about: udp),
      Datagram.unreachable("10.0.0.5", "8.8.8.8", about: udp),
      Datagram.unreachable("fd00:1::9", "fd00:1::5", about: udp6),
      Datagram.packet("10.0.0.5", "8.8.8.8", 47, [1]),
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
      var bench = PacketBench(module, match: try Match(parsing: match, portNamed: { _ in nil }))
      for _ in 0..<3_000 {
        var packet = Self.seeds.randomElement(using: &random)!
        for _ in 0..<Int.random(in: 0...4, using: &random) {
          packet[Int.random(in: packet.indices, using: &random)] = UInt8.random(in: .min ... .max, using: &random)
        }
        if Int.random(in: 0..<4, using: &random) == 0 {
          packet.removeLast(Int.random(in: 0..<packet.count, using: &random))
        }
        if Bool.random(using: &random), case .packet(let headers) = PacketHeaders.parse(packet.span) {
          var span = packet.mutableSpan
          HeaderPatch.setChecksums(of: headers, in: &span)
        }
        bench.now = bench.now + .milliseconds(Int64.random(in: 0...500, using: &random))
        let wasSound = packet.line != "wrong"
        for left in bench.receive(packet) { #expect(!wasSound || left.line != "wrong", "\(packet)") }
      }
      #expect(bench.failures == 0)
    }
  }
}
