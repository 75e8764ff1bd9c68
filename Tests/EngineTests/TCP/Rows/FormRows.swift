import Testing

@testable import Engine

/// Rows 27, 28 and 31: how what leaves looks.
@Suite struct FormRows {
  /// A packet of the server's with other octets in its IP header, its checksums right.
  private static func packet(
    _ talk: borrowing Conversation, _ payload: String, flags: TCPFlags = .ack, _ header: [Int: UInt8]
  ) throws -> TCPPacket {
    var packet = TCPPacket(
      from: talk.server, to: talk.client, sequence: Conversation.serverStart, acknowledgement: Conversation.clientStart,
      flags: flags, payload: Array(payload.utf8))
    for (place, octet) in header { packet.bytes[place] = octet }
    return try sound(packet)
  }

  private static func sound(_ packet: TCPPacket) throws -> TCPPacket {
    var packet = packet
    let headers = try #require(packet.headers)
    var span = packet.bytes.mutableSpan
    HeaderPatch.setChecksums(of: headers, in: &span)
    return packet
  }

  @Test("27. what is cut off a packet looks like it; CWR is on the first, PSH and FIN on the last")
  func row27_piecesLookAlike() throws {
    var talk = try Conversation.established([EditScripts.editor])
    // DSCP 46, ECT(0), a hop limit above that of its SYN, may be fragmented.
    let sent = try Self.packet(talk, "hh", flags: [.ack, .psh, .fin, .cwr], [1: 0xBA, 6: 0, 8: 99])
    let outcome = talk.box.receive(sent, at: talk.now)
    let pieces = [outcome.packet].compactMap { $0 } + outcome.injected
    #expect(pieces.map(\.payload.count) == [1_000, 400])
    for piece in pieces {
      let ip = try #require(piece.headers).ip
      #expect(ip.trafficClass == 0xBA && ip.hopLimit == 99 && !ip.dontFragment)
    }
    #expect(pieces.map { $0.tcp.flags } == [[.ack, .cwr], [.ack, .psh, .fin]])
    // Numbers of their own, for fragments are put together by them.
    #expect(pieces.count == 2 && pieces[0].bytes[4..<6] != pieces[1].bytes[4..<6])
  }

  @Test("27. in IPv6 the flow label is copied") func row27_flowLabel() throws {
    var talk = try Conversation.established([EditScripts.editor], isIPv6: true)
    let sent = try Self.packet(talk, "hh", [0: 0x6B, 1: 0xA1, 2: 0x23, 3: 0x45, 7: 99])
    let outcome = talk.box.receive(sent, at: talk.now)
    let pieces = [outcome.packet].compactMap { $0 } + outcome.injected
    #expect(pieces.count == 2)
    for piece in pieces {
      #expect(Array(piece.bytes[..<4]) == [0x6B, 0xA1, 0x23, 0x45])
      #expect(piece.headers?.ip.hopLimit == 99)
    }
  }

  @Test("27. may what came not be fragmented, no piece of it may") func row27_dontFragment() throws {
    var talk = try Conversation.established([EditScripts.editor])
    let outcome = talk.box.receive(try Self.packet(talk, "hh", [6: 0x40]), at: talk.now)
    let pieces = [outcome.packet].compactMap { $0 } + outcome.injected
    #expect(pieces.count == 2 && pieces.allSatisfy { $0.headers?.ip.dontFragment == true })
  }

  @Test("28. what grows beyond 64 KiB leaves in several packets") func row28_growthBeyondAPacket() throws {
    var talk = try Conversation.established([EditScripts.editor])
    let sent = String(repeating: "g", count: 30_000)
    let outcome = talk.fromServer(0, sent, flags: [.ack, .psh], isGSO: true)
    #expect(outcome.kind == .mangled)
    let first = try #require(outcome.packet)
    #expect(first.bytes.count <= OutgoingPacket.limit && first.payload.count > 60_000)
    var pieces = [first] + outcome.injected
    // The window of its SYN is open for so much.
    #expect(pieces.reduce(0) { $0 + $1.payload.count } == 65_535)
    pieces += talk.fromClient(0, acknowledging: 65_535).injected
    #expect(pieces.flatMap(\.payload) == [UInt8](repeating: UInt8(ascii: "G"), count: 90_000))
    #expect(pieces.dropLast().allSatisfy { $0.tcp.sequence != pieces.last?.tcp.sequence })
  }

  @Test("31. options of IPv4 stay, and padding of the link goes") func row31_optionsAndPadding() throws {
    var talk = try Conversation.established([EditScripts.editor])
    var packet = try Self.packet(talk, "axb", [:])
    packet.bytes.insert(contentsOf: [1, 1, 1, 1], at: 20)
    packet.bytes[0] = 0x46
    packet.bytes[3] += 4
    packet = try Self.sound(packet)
    packet.bytes += [0, 0, 0, 0, 0]
    let out = try #require(talk.box.receive(packet, at: talk.now).packet)
    #expect(Array(out.bytes[20..<24]) == [1, 1, 1, 1] && out.bytes.count == 46)
    #expect(String(decoding: out.payload, as: UTF8.self) == "ab")
  }

  @Test("31. extension headers of IPv6 stay") func row31_extensionHeaders() throws {
    var talk = try Conversation.established([EditScripts.editor], isIPv6: true)
    var packet = try Self.packet(talk, "axb", [:])
    // Hop-by-hop options: six octets of padding.
    packet.bytes.insert(contentsOf: [6, 0, 1, 4, 0, 0, 0, 0], at: 40)
    packet.bytes[6] = 0
    packet.bytes[5] += 8
    packet = try Self.sound(packet)
    let out = try #require(talk.box.receive(packet, at: talk.now).packet)
    #expect(Array(out.bytes[40..<48]) == [6, 0, 1, 4, 0, 0, 0, 0])
    #expect(String(decoding: out.payload, as: UTF8.self) == "ab")
  }
}
