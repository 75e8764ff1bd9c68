import CLinux
import Glibc
import SystemPackage

// All unsafe code of this room: each call below hands the kernel memory that outlives the call, and turns a failure
// into an `Errno`.

/// A call that was interrupted by a signal before anything happened is made again.
private func retrying(_ call: () -> Int) throws(Errno) -> Int {
  while true {
    let result = call()
    if result >= 0 { return result }
    let failure = Errno(rawValue: errno)
    if failure != .interrupted { throw failure }
  }
}

/// Wakes a thread that polls.
@safe final class Bell: Sendable {
  /// Readable since it has been rung.
  let descriptor: FileDescriptor

  /// A process that has no descriptor left cannot begin to serve.
  init() {
    descriptor = FileDescriptor(rawValue: eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC)))
    precondition(descriptor.rawValue >= 0, "no descriptor is left")
  }

  deinit { _ = close(descriptor.rawValue) }

  /// May be called on any thread.
  func ring() { eventfd_write(descriptor.rawValue, 1) }

  func silence() {
    var count: eventfd_t = 0
    unsafe eventfd_read(descriptor.rawValue, &count)
  }
}

/// Who is at the other end of a Unix socket, as of its `connect` (`SO_PEERCRED`, `SO_PEERGROUPS` of unix(7)).
struct PeerCredentials: Equatable, Sendable {
  var user: uid_t
  /// The primary group and the supplementary ones.
  var groups: [gid_t]
}

extension FileDescriptor {
  /// A Unix stream socket that never blocks.
  static func unixSocket() throws(Errno) -> FileDescriptor {
    let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
    return FileDescriptor(rawValue: Int32(try retrying { Int(socket(AF_UNIX, type, 0)) }))
  }

  /// Ends a listener: whoever polls it is woken by `POLLHUP`, and new clients are refused. May be called on any thread
  /// and in a signal handler.
  func endListening() {
    // It fails only where it has been ended already.
    _ = shutdown(rawValue, Int32(SHUT_RDWR))
  }

  func bind(to path: UnixPath) throws(Errno) {
    _ = try retrying { unsafe path.withAddress { unsafe Int(Glibc.bind(rawValue, $0, $1)) } }
  }

  func connect(to path: UnixPath) throws(Errno) {
    _ = try retrying { unsafe path.withAddress { unsafe Int(Glibc.connect(rawValue, $0, $1)) } }
  }

  func listen(backlog: Int32) throws(Errno) { _ = try retrying { Int(Glibc.listen(rawValue, backlog)) } }

  /// The next client, nil where none waits.
  func accept() throws(Errno) -> FileDescriptor? {
    do throws(Errno) {
      let client = FileDescriptor(rawValue: Int32(try retrying { Int(Glibc.accept(rawValue, nil, nil)) }))
      _ = fcntl(client.rawValue, F_SETFL, O_NONBLOCK)
      _ = fcntl(client.rawValue, F_SETFD, FD_CLOEXEC)
      return client
    } catch {
      if error == .wouldBlock { return nil }
      throw error
    }
  }

  /// Appends what has arrived, at most `limit` octets, and returns their number: 0 at the end, nil where nothing waits.
  func receive(into octets: inout [UInt8], atMost limit: Int) throws(Errno) -> Int? {
    do throws(Errno) {
      let chunk = try readChunk(atMost: limit)
      octets += chunk
      return chunk.count
    } catch {
      if error == .wouldBlock { return nil }
      throw error
    }
  }

  private func readChunk(atMost limit: Int) throws(Errno) -> [UInt8] {
    var failure: Errno?
    let chunk = unsafe [UInt8](unsafeUninitializedCapacity: limit) { buffer, count in
      do throws(Errno) {
        count = try retrying { unsafe Glibc.read(rawValue, buffer.baseAddress, limit) }
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    return chunk
  }

  /// Sends what the socket takes now and returns the number of octets, 0 where it takes none. Raises no signal.
  func send(_ octets: ArraySlice<UInt8>) throws(Errno) -> Int {
    do throws(Errno) {
      return try retrying {
        unsafe octets.withUnsafeBytes { unsafe Glibc.send(rawValue, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      }
    } catch {
      if error == .wouldBlock { return 0 }
      throw error
    }
  }

  func peerCredentials() throws(Errno) -> PeerCredentials {
    // The members of `struct ucred`: process, user and primary group, 32 bits each.
    var credentials: [UInt32] = [0, 0, 0]
    var length = socklen_t(3 * MemoryLayout<UInt32>.stride)
    _ = try retrying { unsafe Int(getsockopt(rawValue, SOL_SOCKET, SO_PEERCRED, &credentials, &length)) }
    // 65536 is the kernel's own bound (NGROUPS_MAX of limits.h).
    var groups = [gid_t](repeating: 0, count: 65_536)
    length = socklen_t(groups.count * MemoryLayout<gid_t>.stride)
    let peerGroups: Int32 = 59  // SO_PEERGROUPS of asm-generic/socket.h, which Glibc does not export
    _ = try retrying { unsafe Int(getsockopt(rawValue, SOL_SOCKET, peerGroups, &groups, &length)) }
    return PeerCredentials(
      user: credentials[1], groups: [credentials[2]] + groups.prefix(Int(length) / MemoryLayout<gid_t>.stride))
  }

  /// Sets the permissions that a later `bind` gives the socket's file.
  func setPermissions(_ permissions: FilePermissions) throws(Errno) {
    _ = try retrying { Int(fchmod(rawValue, permissions.rawValue)) }
  }
}

/// What ``poll(_:timeout:)`` waits for at one descriptor, and what it found.
typealias Readiness = pollfd

/// Waits until a descriptor is ready; without a timeout for ever. A signal ends the wait early.
func poll(_ descriptors: inout [Readiness], timeout: Duration?) throws(Errno) {
  let milliseconds = timeout.map { timeout in
    // Rounded up: a wait that is cut short would spin.
    let (seconds, attoseconds) = timeout.components
    return Int32(clamping: max(0, seconds * 1000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000))
  }
  if unsafe Glibc.poll(&descriptors, nfds_t(descriptors.count), milliseconds ?? -1) < 0 {
    let failure = Errno(rawValue: errno)
    guard failure == .interrupted else { throw failure }
    for index in descriptors.indices { descriptors[index].revents = 0 }
  }
}

/// The path of a Unix socket, known to fit into an address.
struct UnixPath: Sendable {
  let text: String

  /// The most octets that a path may have: `sun_path` less the final zero (unix(7)).
  static let maximumLength = 107

  init(_ text: String) throws(ControlError) {
    guard (1...Self.maximumLength).contains(text.utf8.count), !text.utf8.contains(0) else {
      throw ControlError(
        .usage, "this is no path for a socket", at: "socket '\(text)'",
        mend: "use 1 to \(Self.maximumLength) octets")
    }
    self.text = text
  }

  func withAddress(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Int) -> Int {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: text.utf8) }
    return unsafe withUnsafePointer(to: &address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
  }

  /// Whether there is a file here, and it is a socket; nil without a file.
  func isSocket() throws(Errno) -> Bool? {
    var status = stat()
    do throws(Errno) {
      _ = try retrying { unsafe Int(lstat(text, &status)) }
    } catch {
      if error == .noSuchFileOrDirectory { return nil }
      throw error
    }
    return status.st_mode & S_IFMT == S_IFSOCK
  }

  func unlink() throws(Errno) { _ = try retrying { unsafe Int(Glibc.unlink(text)) } }

  /// Gives the file to `group` where there is one, and opens it to its owner and group.
  func share(with group: gid_t?) throws(Errno) {
    if let group { _ = try retrying { unsafe Int(chown(text, uid_t.max, group)) } }
    _ = try retrying { unsafe Int(chmod(text, 0o660)) }
  }

  /// Makes the directory that the file is to lie in, where only that one is missing.
  func makeDirectory() throws(Errno) {
    guard let separator = text.lastIndex(of: "/"), separator > text.startIndex else { return }
    do throws(Errno) {
      _ = try retrying { unsafe Int(mkdir(String(text[..<separator]), 0o755)) }
    } catch {
      guard error == .fileExists else { throw error }
    }
  }
}

/// A group of the system.
enum SystemGroup {
  /// The identifier of the group called `name`, or nil where there is none.
  static func identifier(of name: String) -> gid_t? { unsafe getgrnam(name)?.pointee.gr_gid }
}

/// Files read whole.
enum FileContents {
  /// The octets of the file at `path`, or of the standard input for `-`; one more than `limit` at the most.
  static func read(_ path: String, limit: Int) throws(Errno) -> [UInt8] {
    let isInput = path == "-"
    let file = FileDescriptor(
      rawValue: isInput ? STDIN_FILENO : Int32(try retrying { unsafe Int(open(path, O_RDONLY | O_CLOEXEC)) }))
    defer { if !isInput { _ = Glibc.close(file.rawValue) } }
    var octets: [UInt8] = []
    while octets.count <= limit {
      guard let count = try file.receive(into: &octets, atMost: min(65_536, limit + 1 - octets.count)), count > 0 else {
        break
      }
    }
    return octets
  }
}
