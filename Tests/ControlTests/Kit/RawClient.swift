import Foundation

/// A socket without manners: sends what it is told and reads until the other end hangs up or goes quiet.
final class RawClient {
  private let descriptor: Int32
  /// Kept running for as long as the client is there.
  private let server: RunningServer

  init(_ server: RunningServer) {
    self.server = server
    descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: server.path.utf8) }
    let result = unsafe withUnsafePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    precondition(result == 0, "cannot connect to \(server.path)")
    var limit = timeval(tv_sec: 10, tv_usec: 0)
    unsafe setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
  }

  deinit { close(descriptor) }

  func send(_ text: String) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = unsafe rest.withUnsafeBytes {
        unsafe Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      if count <= 0 { return }
      rest.removeFirst(count)
    }
  }

  func endSending() { shutdown(descriptor, Int32(SHUT_WR)) }

  /// The next line; nil where there is none before the end.
  func line() -> String? {
    var octets: [UInt8] = []
    var octet: UInt8 = 0
    while unsafe read(descriptor, &octet, 1) == 1 {
      if octet == UInt8(ascii: "\n") { return String(decoding: octets, as: UTF8.self) }
      octets.append(octet)
    }
    return nil
  }

  /// Sends a line and reads one.
  func ask(_ text: String) -> String? {
    send(text + "\n")
    return line()
  }
}
