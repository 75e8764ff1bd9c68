import ArgumentParser
import Control
import Engine
import Glibc
import Logging
import Netfilter

/// `flowos run`: the daemon.
struct Run: ModuleCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run the daemon in the foreground, until SIGTERM or SIGINT.")

  @Option(help: "The netfilter queues, as FIRST or FIRST:LAST; one worker thread each.")
  var queues = QueueRange(0...0)

  @Option(help: "The processors that the workers keep to, one each, as in 0-3,8; else the kernel chooses.")
  var cpus: ProcessorList?

  @Option(help: "The socket that flowctl speaks to.", completion: .file())
  var socket = "/run/flowos/flowos.sock"

  @Option(help: "A file of commands to begin with, as 'flowctl apply' takes it.", completion: .file())
  var apply: String?

  @Option(help: "How the log is written to the standard error: text or json.")
  var logFormat = LogFormat.text

  @Option(help: "What is logged: trace, debug, info, notice, warning, error or critical.")
  var logLevel = Logger.Level.info

  @Option(help: "The four bits of the netfilter mark that are ours; as given to flowos-chain.")
  var mask = MarkMask(Marks.standard)

  @Option(help: "Packet memory of each worker, in MiB.")
  var memory = 1_024

  @Option(help: "Seconds after which a connection without packets is forgotten.")
  var idleTimeout = 86_400

  @Option(help: "Seconds for which a connection that has ended is remembered, for segments that come late.")
  var closeTimeout = 30

  mutating func validate() throws {
    guard (1...31_536_000).contains(idleTimeout) else {
      throw ValidationError("--idle-timeout takes 1 to 31536000 seconds.")
    }
    guard (1...86_400).contains(closeTimeout) else {
      throw ValidationError("--close-timeout takes 1 to 86400 seconds.")
    }
    guard (16...1_048_576).contains(memory) else { throw ValidationError("--memory takes 16 to 1048576 MiB.") }
    let allowed = ProcessorList.allowed
    if let missing = cpus?.numbers.first(where: { !allowed.numbers.contains($0) }) {
      throw ValidationError("--cpus names \(missing); flowos may run on \(allowed).")
    }
  }

  func run(_ registry: ModuleRegistry) throws {
    Signals.block()
    let logger = LogFormat.logger(logFormat, logLevel)
    // Read before anything is bound: a bad file leaves nothing behind.
    let commands = try apply.map { try CommandFile(path: $0) }
    var settings = Settings()
    settings.marks = mask.marks
    settings.memoryLimit = memory << 20
    settings.idleTimeout = .seconds(Int64(idleTimeout))
    settings.closeTimeout = .seconds(Int64(closeTimeout))
    let server = try Server(path: socket)
    let workers: WorkerThreads
    do throws(NetfilterError) {
      workers = try WorkerThreads(queues: queues.range, cpus: cpus, settings: settings, logger: logger) {
        server.stop()
      }
    } catch {
      throw ControlError(.refused, error.description)
    }
    let controller = Controller(registry: registry, dataPlane: workers, version: Version.current)
    if let commands { try controller.apply(commands) }
    Signals.onTermination { server.stop() }
    logger.info(
      "ready", metadata: ["queues": "\(queues)", "socket": "\(socket)", "version": "\(Version.current)"])
    try server.run(Responder(controller))
    logger.info("ending")
    workers.end()
  }
}

/// A range of queue numbers, written `0` or `0:3`.
struct QueueRange: ExpressibleByArgument, CustomStringConvertible {
  let range: ClosedRange<UInt16>

  init(_ range: ClosedRange<UInt16>) { self.range = range }

  init?(argument: String) {
    let parts = argument.split(separator: ":", omittingEmptySubsequences: false).map { UInt16($0) }
    guard (1...2).contains(parts.count), let first = parts[0], let last = parts[parts.count - 1], first <= last,
      last - first < 64
    else { return nil }
    range = first...last
  }

  var description: String { range.count == 1 ? "\(range.lowerBound)" : "\(range.lowerBound):\(range.upperBound)" }
  var defaultValueDescription: String { description }
}

/// A mask of four bits, written as a hexadecimal or decimal number.
struct MarkMask: ExpressibleByArgument {
  let marks: Marks

  init(_ marks: Marks) { self.marks = marks }

  init?(argument: String) {
    let number = argument.hasPrefix("0x") ? UInt32(argument.dropFirst(2), radix: 16) : UInt32(argument)
    guard let number, let marks = Marks(mask: number) else { return nil }
    self.marks = marks
  }

  var defaultValueDescription: String { "0x" + String(marks.mask, radix: 16) }
}
