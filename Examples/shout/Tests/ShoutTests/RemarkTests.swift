import ModuleTesting
import Testing

@testable import flowos_shout

struct RemarkTests {
  @Test func setsTheClassAndNothingElse() throws {
    try check(Remark.self, ["dscp": "46"]) { packet in
      var marked = packet
      if packet.isIPv6 {
        marked.octets[0] = 0x60 | 46 >> 2
        marked.octets[1] = (46 & 3) << 6 | packet.octets[1] & 0x3f
      } else {
        marked.octets[1] = 46 << 2 | packet.octets[1] & 3
      }
      marked.setChecksums()
      return [marked]
    }
  }

  @Test func countsWhatItChanges() throws {
    let bench = try PacketBench(Remark.self, ["dscp": "46"], match: "udp,udp_dst=53")
    let outcome = bench.receive(.udp("10.0.0.5", 40_000, to: "192.0.2.1", 53))
    #expect(outcome.fate == .changed)
    #expect(bench.receive(outcome.leaving[0]).fate == .passed)
    #expect(bench.receive(.echo("10.0.0.5", to: "192.0.2.1", 7)).fate == .passed)
    #expect(bench.count("packets") == 1)
  }
}
