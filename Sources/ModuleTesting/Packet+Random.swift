extension Packet {
  /// Packets of IPv4 and IPv6 that a few hosts send each other, both ways: TCP, UDP, echoes, errors about packets in front of them,
  /// and of another protocol. Their lengths and checksums are right; the segments of TCP belong to no connection.
  public static func random(_ count: Int, using random: inout SplitMix) -> [Packet] {
    var packets: [Packet] = []
    while packets.count < count { packets.append(one(about: packets.randomElement(using: &random), using: &random)) }
    return packets
  }

  /// Segments of TCP connections from their SYN to their end, in their order and mixed with those of the others.
  public static func connections(_ count: Int, using random: inout SplitMix) -> [Packet] {
    var rest = (0..<UInt16(count)).map { connection(40_000 + $0, using: &random)[...] }
    var packets: [Packet] = []
    while let index = rest.indices.filter({ !rest[$0].isEmpty }).randomElement(using: &random) {
      packets.append(rest[index].removeFirst())
    }
    return packets
  }

  /// Changes some of its octets, and may cut it off, so that it is hardly a packet any more.
  public mutating func damage(using random: inout SplitMix) {
    for _ in 0..<Int.random(in: 1...4, using: &random) {
      octets[Int.random(in: octets.indices, using: &random)] = .random(in: .min ... .max, using: &random)
    }
    if Int.random(in: 0..<4, using: &random) == 0 {
      octets.removeLast(Int.random(in: 0..<octets.count, using: &random))
    }
    if Bool.random(using: &random) { setChecksums() }
  }

  private static let hosts = [
    ["10.0.0.5", "10.0.0.6", "192.0.2.1", "198.51.100.7"], ["fd00::5", "fd00::6", "2001:db8::1", "2001:db8:1::7"],
  ]
  private static let ports: [UInt16] = [53, 80, 443, 40_000, 40_001, 65_535]
  private static let flags: [Flags] = [.syn, [.syn, .ack], .ack, .ack, [.psh, .ack], [.fin, .ack], .rst]

  private static func pair(using random: inout SplitMix) -> (source: String, destination: String) {
    let shuffled = hosts[Int.random(in: 0...1, using: &random)].shuffled(using: &random)
    return (shuffled[0], shuffled[1])
  }

  private static func payload(using random: inout SplitMix) -> [UInt8] {
    let count = [0, 1, 2, 7, 100, 1_400].randomElement(using: &random) ?? 0
    return (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &random) }
  }

  private static func one(about earlier: Packet?, using random: inout SplitMix) -> Packet {
    let (source, destination) = pair(using: &random)
    let ports = ports.shuffled(using: &random)
    let payload = payload(using: &random)
    switch Int.random(in: 0..<8, using: &random) {
    case 0, 1, 2:
      let flags = flags.randomElement(using: &random) ?? .ack
      return tcp(
        source, ports[0], to: destination, ports[1], flags: flags, sequence: .random(in: .min ... .max, using: &random),
        acknowledgement: flags.contains(.ack) ? .random(in: .min ... .max, using: &random) : 0,
        window: .random(in: .min ... .max, using: &random), payload: flags.contains(.syn) ? [] : payload)
    case 3, 4, 5: return udp(source, ports[0], to: destination, ports[1], payload: payload)
    case 6: return echo(source, to: destination, ports[0], isReply: Bool.random(using: &random), payload: payload)
    default:
      guard let earlier, earlier.isIPv6 == source.contains(":"), Bool.random(using: &random) else {
        return ip(source, to: destination, 47, payload: payload)
      }
      return unreachable(source, to: destination, about: earlier, quoting: Bool.random(using: &random) ? 28 : 500)
    }
  }

  /// A connection to port 80 in which both ends say something, and one after the other closes.
  private static func connection(_ port: UInt16, using random: inout SplitMix) -> [Packet] {
    let (client, server) = pair(using: &random)
    // What each is to send next: of the client, and of the server.
    var next = (0..<2).map { _ in UInt32.random(in: .min ... .max, using: &random) }
    var packets: [Packet] = []
    func send(_ sender: Int, _ flags: Flags, _ payload: [UInt8] = []) {
      let isClient = sender == 0
      packets.append(
        tcp(
          isClient ? client : server, isClient ? port : 80, to: isClient ? server : client, isClient ? 80 : port,
          flags: flags, sequence: next[sender], acknowledgement: flags.contains(.ack) ? next[1 - sender] : 0,
          options: flags.contains(.syn) ? [2, 4, 5, 0xb4] : [], payload: payload))
      next[sender] &+= UInt32(payload.count) &+ (flags.isDisjoint(with: [.syn, .fin]) ? 0 : 1)
    }
    send(0, .syn)
    send(1, [.syn, .ack])
    send(0, .ack)
    for _ in 0..<Int.random(in: 0...8, using: &random) {
      let sender = Int.random(in: 0...1, using: &random)
      send(sender, [.psh, .ack], payload(using: &random))
      send(1 - sender, .ack)
    }
    for sender in [0, 1].shuffled(using: &random) {
      send(sender, [.fin, .ack])
      send(1 - sender, .ack)
    }
    return packets
  }
}
