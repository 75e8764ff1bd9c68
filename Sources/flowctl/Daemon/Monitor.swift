import ArgumentParser
import Control
import Glibc

/// `flowctl monitor`
struct MonitorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "monitor", abstract: "Shows events of modules as they happen, until interrupted.")

  @OptionGroup var words: MonitorGrammar
  @OptionGroup var options: GlobalOptions

  func run() throws {
    Self.endOnInterrupt()
    try options.client().monitor(words.request()) { report throws(ControlError) in
      switch report {
      case .event(let event): try options.write(event, as: Self.line)
      case .loss(let loss): try options.write(loss) { "\($0.lost) event\($0.lost == 1 ? " was" : "s were") lost\n" }
      }
    }
  }

  /// Lets Ctrl-C end the process with 0, also where whoever has started it keeps the signal away. Lines are written whole and
  /// at once, so there is nothing to finish.
  private static func endOnInterrupt() {
    signal(SIGINT) { _ in _exit(0) }
    var interrupt = sigset_t()
    unsafe sigemptyset(&interrupt)
    unsafe sigaddset(&interrupt, SIGINT)
    unsafe sigprocmask(SIG_UNBLOCK, &interrupt, nil)
  }

  private static func line(_ event: EventDescription) -> String {
    let subject = [event.time, event.flow ?? "-", event.module ?? "-", event.connection.map(String.init) ?? "-"]
    let fields = event.fields.sorted { $0.key < $1.key }.map { key, value in
      ShellWords.quote(Terminal.printable("\(key)=\(value)"))
    }
    return (subject + [Terminal.printable(event.event)] + fields).joined(separator: " ") + "\n"
  }
}
