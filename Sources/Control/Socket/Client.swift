import Glibc
import SystemPackage

/// Speaks to a daemon over its Unix socket, one request a connection.
public struct Client: Sendable {
  public static let defaultPath = "/run/flowos/flowos.sock"

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
    let deadline = ContinuousClock.now + timeout
    var lines = try open(until: deadline)
    defer { _ = close(lines.socket.rawValue) }
    return try ask(request, over: &lines, until: deadline)
  }

  /// Asks for the events of modules, and calls `report` with each that comes, and with the number of those that were lost.
  ///
  /// - Throws: what the daemon answers; `unavailable` where there is none, it is too slow to answer, or once it has ended;
  ///   and what `report` throws.
  public func monitor(
    _ request: Monitor, _ report: (MonitorReport) throws(ControlError) -> Void
  ) throws(ControlError) -> Never {
    let deadline = ContinuousClock.now + timeout
    var lines = try open(until: deadline)
    defer { _ = close(lines.socket.rawValue) }
    _ = try ask(request, over: &lines, until: deadline)
    while true {
      let line: [UInt8]
      do {
        line = try lines.next(until: nil)
      } catch {
        guard error == .connectionReset else { throw explain(error) }
        throw ControlError(.unavailable, "the daemon has ended", at: place)
      }
      // What a newer daemon tells beside events is passed over.
      if let known = try decode(IncomingNotification.self, from: line).report { try report(known) }
    }
  }

  private var place: String { "socket '\(path.text)'" }

  private func open(until deadline: ContinuousClock.Instant) throws(ControlError) -> ReceivedLines {
    do throws(Errno) {
      let socket = try FileDescriptor.unixSocket()
      do throws(Errno) {
        try connect(socket, until: deadline)
      } catch {
        _ = close(socket.rawValue)
        throw error
      }
      return ReceivedLines(socket: socket)
    } catch {
      throw explain(error)
    }
  }

  private func ask<R: Request>(
    _ request: R, over lines: inout ReceivedLines, until deadline: ContinuousClock.Instant
  ) throws(ControlError) -> R.Reply {
    let line = try JSON.encode(OutgoingRequest(params: request)) + [UInt8(ascii: "\n")]
    let answer: [UInt8]
    do {
      try send(line[...], over: lines.socket, until: deadline)
      answer = try lines.next(until: deadline)
    } catch {
      throw explain(error)
    }
    let reply = try decode(IncomingReply<R.Reply>.self, from: answer)
    if let error = reply.error { throw error.controlError }
    guard let result = reply.result else { throw ControlError(.fault, "the daemon's reply is empty", at: place) }
    return result
  }

  private func decode<Value: Decodable>(_ type: Value.Type, from line: [UInt8]) throws(ControlError) -> Value {
    do {
      return try JSON.decode(type, from: line)
    } catch {
      throw ControlError(
        .fault, "what the daemon says cannot be read", at: place,
        mend: "'flowctl' and 'flowos' should be of one version")
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
      if !rest.isEmpty { try socket.wait(for: POLLOUT, until: deadline) }
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

/// The lines that come over a socket.
private struct ReceivedLines {
  let socket: FileDescriptor
  private var received: [UInt8] = []
  /// Up to where there is no newline.
  private var scanned = 0

  /// The most octets that one may have.
  private static var limit: Int { 256 << 20 }

  init(socket: FileDescriptor) { self.socket = socket }

  /// The next one, without its newline.
  mutating func next(until deadline: ContinuousClock.Instant?) throws(Errno) -> [UInt8] {
    while true {
      if let end = received[scanned...].firstIndex(of: UInt8(ascii: "\n")) {
        defer {
          received.removeFirst(end + 1)
          scanned = 0
        }
        return Array(received[..<end])
      }
      scanned = received.count
      guard scanned <= Self.limit else { throw .messageTooLong }
      try socket.wait(for: POLLIN, until: deadline)
      if try socket.receive(into: &received, atMost: 65_536) == 0 { throw .connectionReset }
    }
  }
}

extension FileDescriptor {
  /// Waits until the socket is ready; without a deadline for ever.
  fileprivate func wait(for event: Int32, until deadline: ContinuousClock.Instant?) throws(Errno) {
    while true {
      let now = ContinuousClock.now
      if let deadline, now >= deadline { throw .timedOut }
      var descriptors = [Readiness(fd: rawValue, events: Int16(event), revents: 0)]
      try poll(&descriptors, timeout: deadline.map { $0 - now })
      if descriptors[0].revents != 0 { return }
    }
  }
}
