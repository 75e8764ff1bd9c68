import Glibc
import SystemPackage

/// A client of the ``Server``: its unread requests, its untaken reply, and the events that it has asked for.
struct ServedClient {
  private let descriptor: FileDescriptor
  /// What was received; requests before `start` are answered.
  private var input: [UInt8] = []
  private var start = 0
  /// Up to where there is no newline.
  private var scanned = 0
  /// The rest of the reply, and of events.
  private var output: ArraySlice<UInt8> = []
  /// The events that it has asked for.
  private var monitor: Monitor?
  /// Events that found no room, and of which it has not been told.
  private var lost = 0
  private var lastActivity: ContinuousClock.Instant
  private var isInputEnded = false
  /// Set where the client is gone, or has been told off: nothing more is read.
  private var isDismissed = false

  init(_ descriptor: FileDescriptor, at now: ContinuousClock.Instant) {
    self.descriptor = descriptor
    lastActivity = now
  }

  func close() { _ = Glibc.close(descriptor.rawValue) }

  var isMonitoring: Bool { monitor != nil }

  /// What to wait for: room for what is to be sent, else requests; at their end only that it hangs up.
  var awaited: Readiness {
    let event = !output.isEmpty ? POLLOUT : isInputEnded ? 0 : POLLIN
    return Readiness(fd: descriptor.rawValue, events: Int16(event), revents: 0)
  }

  /// When the server must look again even though nothing arrives: at once where a request waits in the buffer. A client that
  /// monitors has all the time there is.
  func deadline(_ limits: Server.Limits) -> ContinuousClock.Instant? {
    if output.isEmpty, start < input.count, scanned < input.count { return lastActivity }
    return isMonitoring ? nil : lastActivity + limits.idle
  }

  func isOver(at now: ContinuousClock.Instant, _ limits: Server.Limits) -> Bool {
    if !isMonitoring, now >= lastActivity + limits.idle { return true }
    return output.isEmpty && (isDismissed || (isInputEnded && start == input.count && !isMonitoring))
  }

  /// Takes what has arrived, answers one request, and sends what the client takes.
  mutating func serve(
    _ events: Int16, at now: ContinuousClock.Instant, _ limits: Server.Limits, _ responder: Responder
  ) {
    do throws(Errno) {
      if events != 0 {
        lastActivity = now
        // It will take no more, and everything it had to say is read.
        if isMonitoring, isInputEnded, Int32(events) & (POLLHUP | POLLERR) != 0 { throw .brokenPipe }
        if output.isEmpty, scanned == input.count { try receive() }
        try flush()
      }
      guard output.isEmpty, !isDismissed else { return }
      switch takeLine(limit: limits.requestSize) {
      case .none: return
      case .some(.success(let line)):
        let answer = responder.answer(line)
        output = (answer.line ?? [])[...]
        monitor = answer.monitor ?? monitor
      case .some(.failure(let error)): return dismiss(with: error)
      }
      try flush()
    } catch {
      giveUp()
    }
  }

  /// Tells of those events that the client has asked for, as far as there is room.
  mutating func tell(_ news: Responder.News, _ limits: Server.Limits) {
    guard let monitor else { return }
    for event in news.events where monitor.asksFor(event.description) {
      // Behind a gap nothing is sent before the client has been told of it.
      if lost == 0, output.count + event.line.count <= limits.backlog {
        output += event.line
      } else {
        lost += 1
      }
    }
    lost += news.lost
    do throws(Errno) { try flush() } catch { giveUp() }
  }

  /// Tells of `error` as far as the client takes it now, and reads nothing more.
  mutating func dismiss(with error: ControlError) {
    output = Responder.line(error)[...]
    monitor = nil
    isDismissed = true
    do throws(Errno) { try flush() } catch { giveUp() }
  }

  /// The client is gone, and what is left for it has nowhere to go.
  private mutating func giveUp() {
    output = []
    monitor = nil
    isDismissed = true
  }

  private mutating func receive() throws(Errno) {
    input.removeFirst(start)
    scanned -= start
    start = 0
    if try descriptor.receive(into: &input, atMost: 65_536) == 0 { isInputEnded = true }
  }

  private mutating func flush() throws(Errno) {
    while true {
      while !output.isEmpty {
        let count = try descriptor.send(output)
        if count == 0 { return }
        output.removeFirst(count)
      }
      guard lost > 0 else { return }
      output = Responder.line(EventLoss(lost: lost))[...]
      lost = 0
    }
  }

  /// The next line without its end; the last one needs no newline. Empty ones are passed over.
  private mutating func takeLine(limit: Int) -> Result<[UInt8], ControlError>? {
    while start < input.count {
      let newline = input[scanned...].firstIndex(of: UInt8(ascii: "\n"))
      let end = newline ?? input.count
      guard end - start <= limit else {
        return .failure(
          ControlError(.tooLarge, "the request is larger than \(limit) octets", mend: "send smaller ones"))
      }
      guard newline != nil || isInputEnded else {
        scanned = end
        return nil
      }
      let line = input[start..<end]
      start = min(end + 1, input.count)
      scanned = start
      if !line.allSatisfy({ $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\r") || $0 == UInt8(ascii: "\t") }) {
        return .success(Array(line))
      }
    }
    return nil
  }
}
