import Testing

@testable import Engine

/// TCP/IP packets as bytes, to be given to an engine and read back.
struct TCPPacket {
  var bytes: [UInt8]

  /// A packet with every checksum right.
  init(
    from source: Endpoint, to destination: Endpoint, sequence: UInt32, acknowledgement: UInt32 = 0, flags: TCPFlags,
    window: UInt16 = 65_535, options: [UInt8] = [], payload: [UInt8] = [], identification: UInt16 = 0
  ) {
    let isIPv6 = !source.address.isIPv4
    let ipCount = isIPv6 ? 40 : 20
    let padded = options + [UInt8](repeating: 1, count: (4 - options.count % 4) % 4)
    let tcpCount = 20 + padded.count
    var bytes = [UInt8](repeating: 0, count: ipCount + tcpCount) + payload
    let template = IPHeader.forTests(source: source.address, destination: destination.address)
    do {
      var span = bytes.mutableSpan
      HeaderWriter.writeTCP(
        sourcePort: source.port, destinationPort: destination.port, sequence: sequence,
        acknowledgement: acknowledgement, flags: flags, window: window, into: &span, at: ipCount)
      for index in padded.indices { span[ipCount + 20 + index] = padded[index] }
      span[ipCount + 12] = UInt8(tcpCount / 4) << 4
      HeaderWriter.writeIP(
        from: template, payloadLength: tcpCount + payload.count, identification: identification, into: &span)
      let sum = Checksum.pseudoHeader(
        source: source.address, destination: destination.address, protocolNumber: 6, length: tcpCount + payload.count,
        isIPv6: isIPv6)
      HeaderPatch.setTCPChecksum(
        Checksum.fold(Checksum.sum(span.span.extracting(ipCount...), initial: sum)), in: &span, tcp: ipCount)
    }
    self.bytes = bytes
  }

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// The headers; nil where they make no sense.
  var headers: PacketHeaders? {
    guard case .packet(let headers) = PacketHeaders.parse(bytes.span) else { return nil }
    return headers
  }

  var tcp: TCPHeader {
    guard let headers, case .tcp(let tcp) = headers.transport else { preconditionFailure("not TCP") }
    return tcp
  }

  var payload: ArraySlice<UInt8> {
    guard let headers else { return [] }
    return bytes[headers.payloadOffset..<headers.payloadOffset + headers.payloadLength]
  }

  /// Whether an end would take it: a TCP packet with its checksums right, that of its IPv4 header too.
  var isSound: Bool {
    guard let headers, case .tcp = headers.transport, isChecksumRight else { return false }
    return isHeaderSound
  }

  /// Whether a router would take it: one drops a packet with a wrong checksum in its IPv4 header; IPv6 has none.
  var isHeaderSound: Bool {
    guard let headers else { return false }
    return headers.ip.isIPv6
      || Checksum.fold(Checksum.sum(bytes.span.extracting(..<headers.ip.headerLength), initial: 0)) == 0
  }

  var isChecksumRight: Bool {
    guard let headers else { return false }
    return Checksum.verifyTransport(packet: bytes.span, headers: headers)
  }
}

extension TCPPacket {
  /// A super-packet as it leaves, the kernel having computed the checksum of TCP, whatever stood there.
  func summed() -> TCPPacket {
    guard let headers, case .tcp = headers.transport else { return self }
    let start = headers.ip.headerLength
    let pseudo = Checksum.pseudoHeader(
      source: headers.ip.source, destination: headers.ip.destination, protocolNumber: 6, length: bytes.count - start,
      isIPv6: headers.ip.isIPv6)
    var packet = self
    var span = packet.bytes.mutableSpan
    HeaderPatch.setTCPChecksum(0, in: &span, tcp: start)
    HeaderPatch.setTCPChecksum(
      Checksum.fold(Checksum.sum(span.span.extracting(start...), initial: pseudo)), in: &span, tcp: start)
    return packet
  }

  /// The segments that a kernel makes of a super-packet: as Linux does it, FIN and PSH are on the last alone, CWR on the first;
  /// and it has forwarded them once.
  func cut(_ segmentation: Segmentation) -> [TCPPacket] {
    guard let headers else { return [] }
    let (ip, start) = (headers.ip, segmentation.transportOffset)
    #expect(start == ip.headerLength && segmentation.payloadOffset == headers.payloadOffset)
    #expect(payload.count > segmentation.size && tcp.urgentPointer == 0)
    let pseudo = Checksum.pseudoHeader(
      source: ip.source, destination: ip.destination, protocolNumber: 6, length: bytes.count - start,
      isIPv6: ip.isIPv6)
    #expect(bytes.span.uint16(at: start + 16) == ~Checksum.fold(pseudo))
    return stride(from: 0, to: payload.count, by: segmentation.size).map { offset in
      let part = payload.dropFirst(offset).prefix(segmentation.size)
      var flags = tcp.flags
      if offset > 0 { flags.remove(.cwr) }
      if offset + part.count < payload.count { flags.subtract([.fin, .psh]) }
      var segment = TCPPacket(Array(bytes[..<segmentation.payloadOffset]) + part)
      do {
        var span = segment.bytes.mutableSpan
        span[ip.isIPv6 ? 7 : 8] -= 1
        HeaderPatch.setTotalLength(segmentation.payloadOffset + part.count, in: &span)
        HeaderPatch.setTCPSequence(tcp.sequence &+ UInt32(offset), in: &span, tcp: start)
        HeaderPatch.setTCPFlags(flags, in: &span, tcp: start)
      }
      if let headers = segment.headers {
        var span = segment.bytes.mutableSpan
        HeaderPatch.setChecksums(of: headers, in: &span)
      }
      return segment
    }
  }
}

extension IPHeader {
  static func forTests(source: IPAddress, destination: IPAddress) -> IPHeader {
    let isIPv6 = !source.isIPv4
    return IPHeader(
      isIPv6: isIPv6, source: source, destination: destination, headerLength: isIPv6 ? 40 : 20, totalLength: 0,
      trafficClass: 0, hopLimit: 64, flowLabel: 0, identification: 0, dontFragment: true, protocolNumber: 6,
      isFragment: false, hasOptions: false, isSourceRouted: false)
  }
}
