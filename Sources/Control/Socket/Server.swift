import Glibc
import SystemPackage

/// Listens at a Unix stream socket and answers lines with lines, all clients on one thread; those that monitor get the
/// lines of events between.
///
/// A client costs at most one request, one reply and a bounded backlog of events: nothing more is read from it before it has
/// taken the reply.
public final class Server: Sendable {
  /// What clients may use.
  public struct Limits: Sendable {
    /// Octets of one line.
    public var requestSize = 1 << 20
    /// Clients at a time.
    public var clients = 64
    /// How long a client may stay without a request or taking its reply, unless it monitors.
    public var idle = Duration.seconds(60)
    /// Octets of events that may wait for a client; what comes behind them is lost to it.
    public var backlog = 1 << 20

    public init() {}
  }

  private let path: UnixPath
  private let limits: Limits
  private let access: Access
  private let listener: FileDescriptor

  /// Takes `path`: mode 0660, group `flowos` where there is one. The file of a daemon that is gone is replaced.
  ///
  /// - Throws: an error that says what stands in the way, such as a daemon that listens there already.
  public init(path: String, limits: Limits = Limits()) throws(ControlError) {
    self.path = try UnixPath(path)
    self.limits = limits
    access = Access.current()
    listener = try self.path.claim(for: access)
  }

  deinit { _ = close(listener.rawValue) }

  /// Makes ``run(_:)`` return. May be called on any thread, and in a signal handler.
  public func stop() { listener.endListening() }

  /// Serves until ``stop()`` is called, then closes all clients and removes the socket's file.
  ///
  /// - Parameter responder: does what clients ask for, on this thread, a line at a time.
  /// - Throws: where the system refuses to wait, which leaves nothing to serve with.
  public func run(_ responder: Responder) throws(ControlError) {
    var clients: [ServedClient] = []
    var acceptsFrom = ContinuousClock.now
    defer {
      responder.feed.isWanted = false
      for client in clients { client.close() }
      // A file that is gone already needs no removal.
      try? path.unlink()
    }
    while true {
      let now = ContinuousClock.now
      let isAccepting = now >= acceptsFrom
      // The end of listening is told whatever is awaited.
      var descriptors = [
        Readiness(fd: listener.rawValue, events: isAccepting ? Int16(POLLIN) : 0, revents: 0),
        Readiness(fd: responder.feed.descriptor.rawValue, events: Int16(POLLIN), revents: 0),
      ]
      let firstClient = descriptors.count
      descriptors += clients.map(\.awaited)
      let deadlines = clients.compactMap { $0.deadline(limits) } + (isAccepting ? [] : [acceptsFrom])
      do throws(Errno) {
        try poll(&descriptors, timeout: deadlines.min().map { max(.zero, $0 - now) })
      } catch {
        throw ControlError(.fault, "cannot wait for clients: \(error)", at: "socket '\(path.text)'")
      }
      if descriptors[0].revents & Int16(POLLHUP) != 0 { return }

      let after = ContinuousClock.now
      if descriptors[1].revents != 0 {
        let news = responder.takeNews()
        for index in clients.indices { clients[index].tell(news, limits) }
      }
      for index in clients.indices {
        clients[index].serve(descriptors[firstClient + index].revents, at: after, limits, responder)
      }
      for client in clients where client.isOver(at: after, limits) { client.close() }
      clients.removeAll { $0.isOver(at: after, limits) }
      responder.feed.isWanted = clients.contains(where: \.isMonitoring)

      if descriptors[0].revents != 0, !acceptAll(into: &clients, at: after) {
        // Out of descriptors or memory: waiting clients would keep the poll awake for nothing.
        acceptsFrom = after + .milliseconds(100)
      }
    }
  }

  /// Accepts the clients that wait, and returns whether the system let it.
  private func acceptAll(into clients: inout [ServedClient], at now: ContinuousClock.Instant) -> Bool {
    do throws(Errno) {
      while let descriptor = try listener.accept() {
        var client = ServedClient(descriptor, at: now)
        if let refusal = refusal(of: descriptor, besides: clients.count) {
          client.dismiss(with: refusal)
          client.close()
        } else {
          clients.append(client)
        }
      }
      return true
    } catch {
      return error == .connectionAbort
    }
  }

  private func refusal(of descriptor: FileDescriptor, besides count: Int) -> ControlError? {
    do throws(Errno) {
      guard access.admits(try descriptor.peerCredentials()) else {
        return ControlError(
          .denied, "you may not control this daemon", mend: "be root or a member of group '\(Access.groupName)'")
      }
    } catch {
      return ControlError(.denied, "the system does not tell who you are: \(error)")
    }
    guard count < limits.clients else {
      return ControlError(.busy, "the daemon serves \(count) clients already", mend: "try again later")
    }
    return nil
  }
}

extension UnixPath {
  /// Listens here, in the place of a file that nobody listens at any more.
  fileprivate func claim(for access: Access) throws(ControlError) -> FileDescriptor {
    let place = "socket '\(text)'"
    let found: Occupant
    do throws(Errno) {
      found = try prepare()
      if found == .nothing { return try listen(for: access) }
    } catch {
      throw ControlError(
        .refused, "cannot listen: \(error)", at: place, mend: "the directory must exist and be writable")
    }
    guard found == .listener else {
      throw ControlError(.exists, "there is a file that is no socket", at: place, mend: "use another '--socket'")
    }
    throw ControlError(
      .exists, "a daemon listens here already", at: place,
      mend: "'flowctl shutdown' ends it, or use another '--socket'")
  }

  private enum Occupant { case nothing, listener, otherFile }

  /// Makes the directory, removes a socket that nobody listens at, and tells what stands in the way still.
  private func prepare() throws(Errno) -> Occupant {
    try makeDirectory()
    switch try isSocket() {
    case nil: return .nothing
    case false?: return .otherFile
    case true?:
      guard try isStale() else { return .listener }
      try unlink()
      return .nothing
    }
  }

  /// Whether nobody listens at the socket's file.
  private func isStale() throws(Errno) -> Bool {
    let probe = try FileDescriptor.unixSocket()
    defer { _ = close(probe.rawValue) }
    do throws(Errno) {
      try probe.connect(to: self)
      return false
    } catch {
      return error == .connectionRefused
    }
  }

  private func listen(for access: Access) throws(Errno) -> FileDescriptor {
    let listener = try FileDescriptor.unixSocket()
    do throws(Errno) {
      // Closed to others from the start, and opened to the group once it has the right one.
      try listener.setPermissions([.ownerReadWrite])
      try listener.bind(to: self)
      try share(with: access.group)
      try listener.listen(backlog: 64)
      return listener
    } catch {
      _ = close(listener.rawValue)
      throw error
    }
  }
}
