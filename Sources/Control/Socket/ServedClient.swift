import Glibc
import SystemPackage

/// A client of the ``Server``: its unread requests and its untaken reply.
struct ServedClient {
  private let descriptor: FileDescriptor
  /// What was received; requests before `start` are answered.
  private var input: [UInt8] = []
  private var start = 0
  /// Up to where there is no newline.
  private var scanned = 0
  /// The rest of the reply.
  private var output: ArraySlice<UInt8> = []
  private var lastActivity: ContinuousClock.Instant
  private var isInputEnded = false
  /// Set where the client is gone, or has been told off: nothing more is read.
  private var isDismissed = false

  init(_ descriptor: FileDescriptor, at now: ContinuousClock.Instant) {
    self.descriptor = descriptor
    lastActivity = now
  }

  func close() { _ = Glibc.close(descriptor.rawValue) }

  /// What to wait for: room for the reply, else requests.
  var awaited: Readiness {
    Readiness(fd: descriptor.rawValue, events: Int16(output.isEmpty ? POLLIN : POLLOUT), revents: 0)
  }

  /// When the server must look again even though nothing arrives: at once where a request waits in the buffer.
  func deadline(_ limits: Server.Limits) -> ContinuousClock.Instant {
    output.isEmpty && (start < input.count) && (scanned < input.count) ? lastActivity : lastActivity + limits.idle
  }

  func isOver(at now: ContinuousClock.Instant, _ limits: Server.Limits) -> Bool {
    if now >= lastActivity + limits.idle { return true }
    return output.isEmpty && (isDismissed || (isInputEnded && start == input.count))
  }

  /// Takes what has arrived, answers one request, and sends what the client takes.
  mutating func serve(
    _ events: Int16, at now: ContinuousClock.Instant, _ limits: Server.Limits, _ answer: ([UInt8]) -> [UInt8]?
  ) {
    do throws(Errno) {
      if events != 0 {
        lastActivity = now
        if output.isEmpty, scanned == input.count { try receive() }
        try flush()
      }
      guard output.isEmpty, !isDismissed else { return }
      switch takeLine(limit: limits.requestSize) {
      case .none: return
      case .some(.success(let line)): output = (answer(line) ?? [])[...]
      case .some(.failure(let error)): return dismiss(with: error)
      }
      try flush()
    } catch {
      // The client is gone, and its reply has nowhere to go.
      output = []
      isDismissed = true
    }
  }

  /// Tells of `error` as far as the client takes it now, and reads nothing more.
  mutating func dismiss(with error: ControlError) {
    output = Responder.line(error)[...]
    isDismissed = true
    do throws(Errno) { try flush() } catch { output = [] }
  }

  private mutating func receive() throws(Errno) {
    input.removeFirst(start)
    scanned -= start
    start = 0
    if try descriptor.receive(into: &input, atMost: 65_536) == 0 { isInputEnded = true }
  }

  private mutating func flush() throws(Errno) {
    while !output.isEmpty {
      let count = try descriptor.send(output)
      if count == 0 { return }
      output.removeFirst(count)
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
