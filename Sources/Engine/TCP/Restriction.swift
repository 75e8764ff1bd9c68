/// Why a connection is never edited.
enum Restriction: String {
  /// Its handshake was not seen as it should be.
  case midstream
  /// Only packets of one direction come by here.
  case oneSided = "one-sided"
  /// Its segments are signed (TCP-MD5, RFC 2385; TCP-AO, RFC 5925).
  case signed
  /// It is a path of an MPTCP connection (RFC 8684), whose octets have numbers of their own.
  case multipath
  /// Data went by in its SYN before anything could edit it.
  case synData = "syn-data"
  /// Connection tracking knows it by other addresses in both directions, so what is made here could not be tracked.
  case translated

  /// Whether its numbers are not followed either: its packets pass as they are, whatever they say, and what they carry is
  /// read where it can be.
  var isObserved: Bool { self != .translated }
}
