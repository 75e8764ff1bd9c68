import Glibc
import SystemPackage

/// Asks a daemon over its Unix socket, one request a connection.
public struct Client: Sendable {
  public static let defaultPath = "/run/flowos/flowos.sock"

  /// The most octets that a reply may have.
  private static let maximumReply = 256 << 20

  private let path: UnixPath
  private let timeout: Duration

  /// - Parameter timeout: how long one request may take, from the first try to connect to the end of the reply.
  public init(path: String, timeout: Duration) throws(ControlError) {
    self.path = try UnixPath(path)
    self.timeout = timeout
  }

  /// Sends `request` and waits for its reply.
  ///
  /// - Throws: what the daemon answers, or `unavailable` where there is none or it is too slow.
  public func send<R: Request>(_ request: R) throws(ControlError) -> R.Reply {
    let line = try JSON.encode(OutgoingRequest(params: request)) + [UInt8(ascii: "\n")]
    let answer = try exchange(line)
    let reply: IncomingReply<R.Reply>
    do {
      reply = try JSON.decode(IncomingReply<R.Reply>.self, from: answer)
    } catch {
      throw ControlError(
        .fault, "the daemon's reply cannot be read", at: place,
        mend: "'flowctl' and 'flowos' should be of one version")
    }
    if let error = reply.error { throw error.controlError }
    guard let result = reply.result else { throw ControlError(.fault, "the daemon's reply is empty", at: place) }
    return result
  }

  private var place: String { "socket '\(path.text)'" }

  /// Sends a line and returns the line that comes back.
  private func exchange(_ line: [UInt8]) throws(ControlError) -> [UInt8] {
    let deadline = ContinuousClock.now + timeout
    do throws(Errno) {
      let socket = try FileDescriptor.unixSocket()
      defer { _ = close(socket.rawValue) }
      try connect(socket, until: deadline)
      try send(line[...], over: socket, until: deadline)
      return try receive(from: socket, until: deadline)
    } catch {
      throw explain(error)
    }
  }

  private func connect(_ socket: FileDescriptor, until deadline: ContinuousClock.Instant) throws(Errno) {
    while true {
      do throws(Errno) {
        return try socket.connect(to: path)
      } catch {
        // A full backlog refuses at once, and there is nothing to poll for.
        guard error == .wouldBlock, ContinuousClock.now < deadline else { throw error }
        var nothing: [Readiness] = []
        try poll(&nothing, timeout: .milliseconds(5))
      }
    }
  }

  private func send(
    _ line: ArraySlice<UInt8>, over socket: FileDescriptor, until deadline: ContinuousClock.Instant
  ) throws(Errno) {
    var rest = line
    while !rest.isEmpty {
      do throws(Errno) {
        rest.removeFirst(try socket.send(rest))
      } catch {
        // The daemon has hung up, and what it said before that tells why.
        if error == .brokenPipe || error == .connectionReset { return }
        throw error
      }
      if !rest.isEmpty { try wait(for: POLLOUT, at: socket, until: deadline) }
    }
  }

  private func receive(from socket: FileDescriptor, until deadline: ContinuousClock.Instant) throws(Errno) -> [UInt8] {
    var answer: [UInt8] = []
    while answer.last != UInt8(ascii: "\n") {
      try wait(for: POLLIN, at: socket, until: deadline)
      guard let count = try socket.receive(into: &answer, atMost: 65_536) else { continue }
      if count == 0 { throw .connectionReset }
      if answer.count > Self.maximumReply { throw .messageTooLong }
    }
    return answer
  }

  private func wait(
    for event: Int32, at socket: FileDescriptor, until deadline: ContinuousClock.Instant
  ) throws(Errno) {
    while true {
      let now = ContinuousClock.now
      guard now < deadline else { throw .timedOut }
      var descriptors = [Readiness(fd: socket.rawValue, events: Int16(event), revents: 0)]
      try poll(&descriptors, timeout: deadline - now)
      if descriptors[0].revents != 0 { return }
    }
  }

  private func explain(_ failure: Errno) -> ControlError {
    switch failure {
    case .noSuchFileOrDirectory, .connectionRefused, .notDirectory:
      ControlError(
        .unavailable, "no daemon listens here", at: place,
        mend: "start one with 'flowos run', or name its socket with '--socket' or FLOWOS_SOCKET")
    case .permissionDenied:
      ControlError(
        .denied, "you may not open it", at: place, mend: "be root or a member of group '\(Access.groupName)'")
    case .timedOut, .wouldBlock:
      ControlError(.unavailable, "the daemon did not answer within \(timeout)", at: place, mend: "raise '--timeout'")
    case .connectionReset, .brokenPipe:
      ControlError(.unavailable, "the daemon hung up without an answer", at: place, mend: "look into its log")
    default:
      ControlError(.unavailable, "cannot ask the daemon: \(failure)", at: place)
    }
  }
}
