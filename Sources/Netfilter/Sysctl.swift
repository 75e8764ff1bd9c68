import SystemPackage

/// A switch of the kernel under `/proc/sys`, in the caller's network namespace.
public struct Sysctl: Sendable {
  /// As `sysctl` writes it, such as `net.ipv4.ip_forward`.
  public let name: String

  /// Whether connection tracking lets TCP segments out of its window pass, for all connections.
  public static let tcpBeLiberal = Sysctl(name: "net.netfilter.nf_conntrack_tcp_be_liberal")

  private var path: String { "/proc/sys/" + String(name.map { $0 == "." ? "/" : $0 }) }

  /// Whether the switch is on.
  public func value() throws(NetfilterError) -> Bool {
    do {
      return try ProcFile.read(path).first != "0"
    } catch {
      throw NetfilterError("read the sysctl \(name)", error as? Errno ?? .ioError)
    }
  }

  /// The number that it is set to.
  func number() throws(NetfilterError) -> Int {
    do {
      let text = try ProcFile.read(path)
      guard let number = Int(text.prefix { !$0.isWhitespace }) else { throw Errno.invalidArgument }
      return number
    } catch {
      throw NetfilterError("read the sysctl \(name)", error as? Errno ?? .ioError)
    }
  }

  public func set(_ isOn: Bool) throws(NetfilterError) {
    do {
      try ProcFile.write(isOn ? "1" : "0", to: path)
    } catch {
      throw NetfilterError("set the sysctl \(name)", error as? Errno ?? .ioError)
    }
  }
}
