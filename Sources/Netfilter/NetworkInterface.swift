import Glibc

/// Network interfaces of the caller's network namespace.
public enum NetworkInterface {
  /// The index by which packets name the interface, as in ``Engine/PacketMetadata/inPort``; nil where there is none of that name.
  public static func index(named name: String) -> UInt32? {
    let index = unsafe if_nametoindex(name)
    return index == 0 ? nil : index
  }
}
