import Engine

/// Verifies the checksums of packets: IPv4's header, and TCP, UDP, ICMP and ICMPv6. Mends them where it is told to.
public struct IPChecksum: ProcessingModule {
  public static let description = ModuleDescription(
    kind: "ipchecksum", layer: .ip, access: .edit,
    parameters: [
      Parameter("mend", .boolean, default: "false", help: "whether wrong checksums are set right")
    ],
    counters: ["good", "bad", "mended"],
    help: "Verifies the checksums of packets, counts, and mends them where it is told to.")

  private let isMending: Bool

  public init(_ arguments: Arguments) { isMending = arguments.boolean("mend") }

  public var access: ModuleDescription.Access { isMending ? .edit : .read }

  public mutating func process(_ window: inout Window) {
    guard let packet = window.packet else { return }
    guard !packet.isSound else {
      window.count(0)
      return
    }
    window.count(1)
    guard isMending else { return }
    if !packet.isIPv6 { set(at: 10, over: 0..<Int(window[0] & 0xf) * 4, initial: 0, &window) }
    if !packet.isFragment { mendTransport(packet, &window) }
    window.count(2)
  }

  private func mendTransport(_ packet: PacketDescription, _ window: inout Window) {
    let start = packet.transportOffset
    var end = window.count
    let field: Int
    switch packet.protocolNumber {
    case 6: field = start + 16
    case 17:
      field = start + 6
      // Zero says that there is none (RFC 768).
      if !packet.isIPv6, window.uint16(at: field) == 0 { return }
      end = start + Int(window.uint16(at: start + 4))
    case packet.isIPv6 ? 58 : 1: field = start + 2
    default: return
    }
    var pseudo: UInt64 = 0
    if packet.isIPv6 || packet.protocolNumber != 1 {
      pseudo = Checksum.pseudoHeader(
        source: packet.source, destination: packet.destination, protocolNumber: packet.protocolNumber,
        length: end - start, isIPv6: packet.isIPv6)
    }
    set(at: field, over: start..<end, initial: pseudo, &window)
    if packet.protocolNumber == 17, window.uint16(at: field) == 0 { window.replace(at: field, with: 0xffff) }
  }

  private func set(at field: Int, over range: Range<Int>, initial: UInt64, _ window: inout Window) {
    window.replace(at: field, with: 0)
    window.replace(at: field, with: Checksum.fold(window.sum(of: range, initial: initial)))
  }
}
