import Testing

@testable import Engine

/// Row 29: ICMP errors, and what they tell of the path.
@Suite struct PathMTURows {
  /// A connection on which every `a` becomes `xyz`, with a maximum segment of 1,000 octets, of 1,440 in IPv6.
  private static func growing(isIPv6: Bool = false, usesTimestamps: Bool = false) throws -> Conversation {
    var talk = try Conversation([ByteEditor(rule: [UInt8(ascii: "a"): Array("xyz".utf8)])], isIPv6: isIPv6)
    talk.usesTimestamps = usesTimestamps
    try talk.shakeHands(maximumSegment: isIPv6 ? 1_440 : 1_000)
    return talk
  }

  /// An ICMP error of a router's about `packet`, with its first octets up to `quoted`.
  private static func error(
    _ packet: TCPPacket, type: UInt8, code: UInt8, word: UInt32 = 0, quoted: Int = 548
  ) throws -> TCPPacket {
    let isIPv6 = packet.bytes[0] >> 4 == 6
    let body = [type, code, 0, 0] + PacketBytes.octets(word) + packet.bytes.prefix(quoted)
    let source = try #require(packet.headers?.ip.source)
    let router = try #require(IPAddress(isIPv6 ? "fd00::9" : "10.0.2.9"))
    let ipCount = isIPv6 ? 40 : 20
    var bytes = [UInt8](repeating: 0, count: ipCount) + body
    var span = bytes.mutableSpan
    var ip = IPHeader.forTests(source: router, destination: source)
    ip.protocolNumber = isIPv6 ? 58 : 1
    HeaderWriter.writeIP(from: ip, payloadLength: body.count, identification: 7, into: &span)
    let pseudo =
      isIPv6
      ? Checksum.pseudoHeader(source: router, destination: source, protocolNumber: 58, length: body.count, isIPv6: true)
      : 0
    span.store(Checksum.fold(Checksum.sum(span.span.extracting(ipCount...), initial: pseudo)), at: ipCount + 2)
    return TCPPacket(bytes)
  }

  /// The error that says that `packet` does not fit into `mtu` octets.
  static func tooBig(_ packet: TCPPacket, mtu: UInt32, quoted: Int = 548) throws -> TCPPacket {
    packet.bytes[0] >> 4 == 6
      ? try error(packet, type: 2, code: 0, word: mtu, quoted: quoted)
      : try error(packet, type: 3, code: 4, word: mtu, quoted: quoted)
  }

  /// The error that reaches the source.
  private static func read(_ packet: TCPPacket?) throws -> ICMPError {
    let packet = try #require(packet)
    #expect(packet.isChecksumRight && packet.isHeaderSound)
    return try #require(packet.bytes.icmpError)
  }

  private static func with(sequence: UInt32, _ packet: TCPPacket) -> TCPPacket {
    var bytes = packet.bytes
    let tcp = bytes[0] >> 4 == 6 ? 40 : 20
    bytes.replaceSubrange(tcp + 4..<tcp + 8, with: PacketBytes.octets(sequence))
    return TCPPacket(bytes)
  }

  private static func pieces(_ packets: [TCPPacket]) -> [String] {
    packets.map { "\(Int32(bitPattern: $0.tcp.sequence &- Conversation.serverStart))+\($0.payload.count)" }
  }

  private static func counters(_ talk: borrowing Conversation) -> EngineCounters { talk.box.engine.statistics.engine }

  private static func text(_ count: Int) -> String { String(repeating: "b", count: count) }

  @Test("29. the source is told the number that it knows", arguments: [false, true])
  func row29_quotedNumberIsMapped(isIPv6: Bool) throws {
    var talk = try Self.growing(isIPv6: isIPv6)
    #expect(talk.fromServer(0, "abcd").out == ["server . 0 ack 0 'xyzbcd'"])
    let second = try #require(talk.fromServer(4, "efgh").packet)
    #expect(second.summary == "server . 6 ack 0 'efgh'")
    for (type, code) in isIPv6 ? [(1, 0), (3, 0)] : [(3, 1), (3, 13), (11, 0), (12, 0)] as [(UInt8, UInt8)] {
      let error = try Self.error(second, type: type, code: code)
      let outcome = talk.box.receive(error, at: talk.now)
      #expect(outcome.kind == .mangled && outcome.injected.isEmpty)
      #expect(try Self.read(outcome.packet).segment.sequence == Conversation.serverStart + 4)
      // Nothing else of it is touched.
      var changed = try #require(outcome.packet).bytes
      let icmp = isIPv6 ? 40 : 20
      let number = icmp + 8 + (isIPv6 ? 44 : 24)
      for range in [icmp + 2..<icmp + 4, number..<number + 4] {
        changed.replaceSubrange(range, with: error.bytes[range])
      }
      #expect(changed == error.bytes)
    }
    #expect(Self.counters(talk).pathMTU == 0)
  }

  @Test("29. inside of what was inserted, it is the octet behind") func row29_insideOfAnInsertion() throws {
    var talk = try Self.growing()
    let packet = try #require(talk.fromServer(0, "bbab").packet)
    for (out, number) in [(0, 0), (2, 2), (3, 2), (4, 2), (5, 3), (6, 4)] as [(UInt32, UInt32)] {
      let quoted = Self.with(sequence: Conversation.serverStart + out, packet)
      let outcome = talk.box.receive(try Self.error(quoted, type: 11, code: 0), at: talk.now)
      #expect(try Self.read(outcome.packet).segment.sequence == Conversation.serverStart + number)
    }
  }

  @Test(
    "29. what has grown beyond the path is sent again in pieces that fit", arguments: [false, true], [false, true])
  func row29_grownSegmentIsSplit(isIPv6: Bool, usesTimestamps: Bool) throws {
    var talk = try Self.growing(isIPv6: isIPv6, usesTimestamps: usesTimestamps)
    let size = isIPv6 ? 1_300 : 900
    let headers = (isIPv6 ? 60 : 40) + (usesTimestamps ? 12 : 0)
    let packet = try #require(talk.fromServer(0, "a" + Self.text(size - 1)).packet)
    #expect(packet.payload.count == size + 2)
    // The source's own segment would have fitted, so it sends nothing again.
    let outcome = talk.box.receive(try Self.tooBig(packet, mtu: UInt32(headers + size)), at: talk.now)
    #expect(outcome.kind == .accepted)
    #expect(Self.pieces(outcome.injected) == ["0+\(size)", "\(size)+2"])
    #expect(Array(outcome.injected.map(\.payload).joined()) == Array(packet.payload))
    #expect(Self.counters(talk).pathMTU == 1)
    // And so from now on; what the source sends at once is its matter.
    _ = talk.fromClient(0, acknowledging: size + 2)
    let next = talk.fromServer(size, "aa" + Self.text(598))
    #expect(Self.pieces([next.packet].compactMap { $0 } + next.injected) == ["\(size + 2)+604"])
    let large = talk.fromServer(size + 600, "aa" + Self.text(size))
    #expect(
      Self.pieces([large.packet].compactMap { $0 } + large.injected)
        == ["\(size + 606)+\(size + 2)", "\(2 * size + 608)+4"])
  }

  @Test("29. eight octets of the TCP header are enough") func row29_leastQuotation() throws {
    var talk = try Self.growing()
    let packet = try #require(talk.fromServer(0, "a" + Self.text(899)).packet)
    let outcome = talk.box.receive(try Self.tooBig(packet, mtu: 940, quoted: 28), at: talk.now)
    #expect(Self.pieces(outcome.injected) == ["0+900", "900+2"])
  }

  @Test("29. what was too large when it came, its source sends again") func row29_sourceResendsItsOwn() throws {
    var talk = try Self.growing()
    _ = talk.fromServer(0, "a")
    _ = talk.fromClient(0, acknowledging: 3)
    let packet = try #require(talk.fromServer(1, Self.text(900)).packet)
    let outcome = talk.box.receive(try Self.tooBig(packet, mtu: 640), at: talk.now)
    #expect(outcome.injected.isEmpty)
    let told = try Self.read(outcome.packet)
    #expect(told.segment.sequence == Conversation.serverStart + 1 && told.mtu == 640)
    let again = talk.fromServer(1, Self.text(600))
    #expect(Self.pieces([again.packet].compactMap { $0 } + again.injected) == ["3+600"])
  }

  @Test("29. a super-packet's segments are as large as before") func row29_superPacket() throws {
    var talk = try Conversation.established([ByteEditor(rule: [UInt8(ascii: "a"): []])])
    let packet = try #require(talk.fromServer(0, Self.text(900)).packet)
    _ = talk.box.receive(try Self.tooBig(packet, mtu: 640), at: talk.now)
    #expect(Self.counters(talk).pathMTU == 1)
    // What is left of it is a single one of those, which the kernel would drop.
    let outcome = talk.fromServer(900, Self.text(800) + String(repeating: "a", count: 2_000), isGSO: true)
    #expect(outcome.kind == .dropped)
    #expect(Self.pieces(outcome.injected) == ["900+600", "1500+200"])
    let larger = talk.fromServer(3_700, Self.text(1_100) + String(repeating: "a", count: 2_000), isGSO: true)
    #expect(Self.pieces([larger.packet].compactMap { $0 } + larger.injected) == ["1700+1100"])
  }

  @Test("29. what is ours to deliver is sent again here") func row29_ownedOctets() throws {
    var talk = try Conversation.established([OwnedDeliveryRows.Gatherer(size: 3_000)])
    for index in 0..<2 { _ = talk.fromServer(index * 1_000, Self.text(1_000)) }
    _ = talk.pass(.milliseconds(100))
    let released = talk.fromServer(2_000, Self.text(1_000))
    #expect(released.payload == 3_000)
    let outcome = talk.box.receive(try Self.tooBig(try #require(released.packet), mtu: 640), at: talk.now)
    #expect(Self.pieces(outcome.injected) == ["0+600", "600+400"])
  }

  @Test("29. the FIN goes with what it stood behind") func row29_finish() throws {
    var talk = try Self.growing()
    let packet = try #require(talk.fromServer(0, "a" + Self.text(899), flags: [.ack, .fin]).packet)
    let outcome = talk.box.receive(try Self.tooBig(packet, mtu: 940), at: talk.now)
    #expect(Self.pieces(outcome.injected) == ["0+900", "900+2"])
    #expect(outcome.injected.last?.tcp.flags.contains(.fin) == true)
  }

  @Test("29. nothing that waits for window is sent with it") func row29_window() throws {
    var talk = try Conversation([ByteEditor(rule: [UInt8(ascii: "a"): Array("xyz".utf8)])])
    try talk.shakeHands(window: 850)
    let packet = try #require(talk.fromServer(0, "a" + Self.text(849), flags: [.ack, .fin], window: 850).packet)
    #expect(packet.payload.count == 850 && !packet.tcp.flags.contains(.fin))
    let longer = TCPPacket(
      from: talk.server, to: talk.client, sequence: packet.tcp.sequence, flags: .ack,
      payload: Array(packet.payload) + [1])
    let outcome = talk.box.receive(try Self.tooBig(longer, mtu: 890), at: talk.now)
    #expect(Self.pieces(outcome.injected) == ["0+850"])
  }

  @Test("29. a forged error has to name what is under way, and a size that does not fit")
  func row29_implausibleErrors() throws {
    var talk = try Self.growing()
    let packet = try #require(talk.fromServer(0, "aa" + Self.text(898)).packet)
    _ = talk.fromClient(0, acknowledging: 904)
    let next = try #require(talk.fromServer(900, Self.text(100)).packet)
    // In front of SND.UNA, and behind SND.NXT: as far from what the source has under way.
    for (out, number) in [(-1, -1), (903, 899), (1_005, 1_001), (9_000, 8_996)] {
      let quoted = Self.with(sequence: Conversation.serverStart &+ UInt32(truncatingIfNeeded: out), packet)
      let outcome = talk.box.receive(try Self.tooBig(quoted, mtu: 600), inPort: 2, at: talk.now)
      #expect(outcome.injected.isEmpty)
      let told = Int32(bitPattern: try Self.read(outcome.packet).segment.sequence &- Conversation.serverStart)
      #expect(Int(told) == (out < 904 ? out - 4 : number))
    }
    // It fits.
    #expect(talk.box.receive(try Self.tooBig(next, mtu: 140), at: talk.now).injected.isEmpty)
    // Its checksum is wrong.
    var wrong = try Self.tooBig(Self.with(sequence: next.tcp.sequence, packet), mtu: 600)
    wrong.bytes[wrong.bytes.count - 1] ^= 1
    #expect(talk.box.receive(wrong, at: talk.now).kind == .accepted)
    // Another connection.
    var other = packet
    other.bytes[21] ^= 1
    #expect(talk.box.receive(try Self.tooBig(other, mtu: 600), at: talk.now).kind == .accepted)
    #expect(Self.counters(talk).pathMTU == 0)
  }

  @Test("29. no path is taken to be smaller than it can be") func row29_leastMTU() throws {
    for mtu in [0, 68, 552] as [UInt32] {
      var talk = try Self.growing()
      let packet = try #require(talk.fromServer(0, Self.text(510) + "aa").packet)
      let outcome = talk.box.receive(try Self.tooBig(packet, mtu: mtu), at: talk.now)
      #expect(Self.pieces(outcome.injected) == ["0+512", "512+4"])
    }
    var talk = try Self.growing(isIPv6: true)
    let packet = try #require(talk.fromServer(0, "a" + Self.text(1_299)).packet)
    #expect(talk.box.receive(try Self.tooBig(packet, mtu: 1_279), at: talk.now).injected.isEmpty)
    #expect(Self.counters(talk).pathMTU == 0)
  }

  @Test("29. this machine's kernel refuses segments before they come by here") func row29_refusedInFront() throws {
    var talk = try Conversation.established([ByteEditor(rule: [UInt8(ascii: "a"): []])])
    _ = talk.fromServer(0, String(repeating: "a", count: 800) + Self.text(100))
    _ = talk.fromClient(0, acknowledging: 100)
    let refused = TCPPacket(
      from: talk.server, to: talk.client, sequence: Conversation.serverStart + 900, flags: .ack,
      payload: Array(Self.text(900).utf8))
    let outcome = talk.box.receive(try Self.tooBig(refused, mtu: 640), at: talk.now)
    #expect(outcome.kind == .accepted && outcome.injected.isEmpty)
    #expect(Self.counters(talk).pathMTU == 1)
    // From elsewhere it would be out of anything sent.
    let forged = talk.box.receive(try Self.tooBig(refused, mtu: 600), inPort: 2, at: talk.now)
    #expect(forged.kind == .mangled)
    #expect(Self.counters(talk).pathMTU == 1)
  }

  @Test("29. what an interface does not take is injected again, smaller", arguments: [640, 500])
  func row29_interfaceMTU(mtu: Int) throws {
    var talk = try Conversation.established([OwnedDeliveryRows.Gatherer(size: 3_000)])
    for index in 0..<2 { _ = talk.fromServer(index * 1_000, Self.text(1_000)) }
    _ = talk.pass(.milliseconds(100))
    talk.box.interfaceMTU = mtu
    let released = talk.fromServer(2_000, Self.text(1_000))
    #expect(Self.pieces([released.packet].compactMap { $0 }) == ["0+1000"])
    // What is smaller than any path is not tried for ever.
    #expect(Self.pieces(released.injected) == (mtu == 640 ? ["1000+600", "1600+400", "2000+600", "2600+400"] : []))
  }

  @Test("29. an error that comes to another worker finds its connection") func row29_otherWorker() throws {
    var settings = Settings()
    settings.worker = (1, 2)
    var talk = try Conversation([ByteEditor(rule: [UInt8(ascii: "a"): Array("xyz".utf8)])], settings: settings)
    try talk.shakeHands()
    _ = talk.fromServer(0, "a")
    _ = talk.fromClient(0, acknowledging: 3)
    let packet = try #require(talk.fromServer(1, "a" + Self.text(899)).packet)
    settings.worker = (0, 2)
    var other = Middlebox(settings)
    let error = try Self.tooBig(packet, mtu: 940)
    let outcome = other.receive(error, at: talk.now)
    #expect(outcome.kind == .accepted)
    let stray = try #require(other.strayErrors.first)
    let injected = talk.box.receive(stray, at: talk.now)
    #expect(Self.pieces(injected.dropLast()) == ["3+900", "903+2"])
    #expect(try Self.read(injected.last).segment.sequence == Conversation.serverStart + 1)
    // What nobody knows ends there, and what no honest router sends is not handed over.
    _ = other.receive(stray, at: talk.now)
    _ = other.receive(try Self.tooBig(packet, mtu: 940, quoted: 2_000), at: talk.now)
    #expect(other.strayErrors.count == 2)
  }

  @Test("29. a connection that is only read is left alone") func row29_observed() throws {
    var talk = try Conversation([ByteEditor(rule: [:])])
    let packet = try #require(talk.fromServer(0, Self.text(900)).packet)
    let outcome = talk.box.receive(try Self.tooBig(packet, mtu: 600), at: talk.now)
    #expect(outcome.kind == .accepted && outcome.injected.isEmpty)
    #expect(Self.counters(talk).icmpErrors == 0)
  }
}
