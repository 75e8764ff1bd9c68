/// A TCP segment in an IPv4 packet, as the ends of a ``Bench`` make and read it.
struct Segment {
  struct Flags: OptionSet {
    let rawValue: UInt8
    static let fin = Flags(rawValue: 1)
    static let syn = Flags(rawValue: 2)
    static let rst = Flags(rawValue: 4)
    static let ack = Flags(rawValue: 16)
  }

  /// Shift of the windows that both ends announce (RFC 7323).
  static let windowScale = 14
  /// Octets of payload that one takes.
  static let largest = 65_000

  var isToServer: Bool
  var sequence: UInt32
  var acknowledgement: UInt32 = 0
  var flags: Flags
  /// As in the header, scaled.
  var window: UInt16 = 65_535
  var payload: [UInt8] = []

  static let client: (address: UInt32, port: UInt16) = (0x0A00_0001, 40_000)
  static let server: (address: UInt32, port: UInt16) = (0x0A00_0002, 80)

  init(
    isToServer: Bool, sequence: UInt32, acknowledgement: UInt32 = 0, flags: Flags, payload: some Collection<UInt8> = []
  ) {
    self.isToServer = isToServer
    self.sequence = sequence
    self.acknowledgement = acknowledgement
    self.flags = flags
    self.payload = Array(payload)
  }

  /// Reads an IPv4 packet without IP options.
  init(packet: [UInt8]) {
    func number(_ offset: Int, _ count: Int) -> UInt32 {
      packet[offset..<offset + count].reduce(0) { $0 << 8 | UInt32($1) }
    }
    isToServer = number(16, 4) == Self.server.address
    sequence = number(24, 4)
    acknowledgement = number(28, 4)
    flags = Flags(rawValue: packet[33])
    window = UInt16(number(34, 2))
    payload = Array(packet[(20 + Int(packet[32] >> 4) * 4)...])
  }

  /// The packet, its checksums left out.
  var packet: [UInt8] {
    let (source, destination) = isToServer ? (Self.client, Self.server) : (Self.server, Self.client)
    // Maximum segment size, and window scale with padding.
    let options: [UInt8] =
      flags.contains(.syn) ? [2, 4] + octets(UInt16(Self.largest)) + [3, 3, UInt8(Self.windowScale), 1] : []
    var packet: [UInt8] = [0x45, 0] + octets(UInt16(40 + options.count + payload.count))
    packet += [0, 0, 0x40, 0, 64, 6, 0, 0]
    packet += octets(source.address) + octets(destination.address) + octets(source.port) + octets(destination.port)
    packet += octets(sequence) + octets(acknowledgement)
    packet += [UInt8(20 + options.count) << 2, flags.rawValue] + octets(window) + [0, 0, 0, 0] + options + payload
    return packet
  }
}

func octets(_ number: UInt16) -> [UInt8] { [UInt8(number >> 8), UInt8(number & 0xFF)] }
func octets(_ number: UInt32) -> [UInt8] { octets(UInt16(number >> 16)) + octets(UInt16(number & 0xFFFF)) }
