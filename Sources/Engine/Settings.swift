/// What an engine is told once, when it is made.
public struct Settings: Sendable {
  /// The bits of the netfilter mark that are ours.
  public var marks = Marks.standard
  /// Octets of packet memory that may be in use.
  public var memoryLimit = 1 << 30
  /// Connections in the table. A handshake that finds no place takes that of a connection that is not edited and not open;
  /// where there is none it passes unedited, and is counted.
  public var connectionLimit = 262_144
  /// How long a connection without packets is remembered.
  public var idleTimeout: Nanoseconds = .seconds(86_400)
  /// How long a connection whose handshake does not come to its end is remembered.
  public var handshakeTimeout: Nanoseconds = .seconds(60)
  /// How long a connection that has ended is remembered, for segments that come late.
  public var closeTimeout: Nanoseconds = .seconds(30)
  /// Associations of UDP in the table; the one that has been silent for longest makes room for another.
  public var associationLimit = 65_536
  /// How long an association of UDP without datagrams is remembered.
  public var associationTimeout: Nanoseconds = .seconds(180)

  /// The IP versions of which super-packets may be injected: packets of up to 64 KiB that the kernel is to cut, see
  /// ``Injection/segmentation``.
  public var superPackets = (ipv4: false, ipv6: false)

  /// Which of how many engines this is, so that connections have numbers of their own.
  public var worker = (index: 0, count: 1)

  /// Who makes the threads of modules that run on threads; without one they run inline.
  public var threads: (any ThreadStarter)?

  public init() {}
}
