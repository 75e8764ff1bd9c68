/// Why a packet's headers make no sense.
enum Malformation: String, Error, CaseIterable {
  /// The packet ends inside its IP header.
  case truncated = "the packet ends inside its IP header"
  case badVersion = "the IP version is neither 4 nor 6"
  case badHeaderLength = "the IPv4 header length is below 20 octets"
  /// Also IPv6 jumbograms and other packets above 64 KiB, whose length field is 0.
  case badTotalLength = "the IP length field is below the header or beyond the packet"
  case misplacedExtension = "hop-by-hop options do not follow the IPv6 header"
  case truncatedExtension = "an IPv6 extension header reaches beyond the packet"
  case truncatedTransport = "the packet ends inside its transport header"
  case badDataOffset = "the TCP data offset is below 20 octets or beyond the packet"
  case badUDPLength = "the UDP length is below 8 octets or beyond the packet"
}
