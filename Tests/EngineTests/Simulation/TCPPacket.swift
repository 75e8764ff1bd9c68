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

extension IPHeader {
  static func forTests(source: IPAddress, destination: IPAddress) -> IPHeader {
    let isIPv6 = !source.isIPv4
    return IPHeader(
      isIPv6: isIPv6, source: source, destination: destination, headerLength: isIPv6 ? 40 : 20, totalLength: 0,
      trafficClass: 0, hopLimit: 64, flowLabel: 0, identification: 0, dontFragment: true, protocolNumber: 6,
      isFragment: false, hasOptions: false, isSourceRouted: false)
  }
}
