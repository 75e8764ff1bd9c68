import ArgumentParser
import Control
import Engine
import Netfilter

/// `flowos replay`: the same engine over a capture, without root.
struct Replay: ModuleCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run a capture through the pipelines of a file of commands.",
    discussion:
      "What the packets become is written in their order, with the time and the link-layer header they came with.")

  @Option(help: "The file of commands, as 'flowctl apply' takes it.", completion: .file())
  var apply: String

  @Argument(help: "The capture to read: pcap or pcapng.", completion: .file())
  var input: String

  @Argument(help: "The capture to write: pcap.", completion: .file())
  var output: String

  func run(_ registry: ModuleRegistry) throws {
    let configuration = try CommandFile(path: apply).configuration(
      registry: registry, portNamed: NetworkInterface.index(named:))
    let capture = try CaptureReader(input)
    let writer = try CaptureWriter(output, like: capture)
    var engine = Engine()
    engine.apply(configuration, at: .zero)
    while let frame = try capture.next() {
      advance(&engine, to: frame.time, writer)
      let buffer = unsafe engine.receiveBuffers(1)[0]
      guard let packet = frame.packet, packet.count <= buffer.count else {
        writer.write(frame)
        continue
      }
      unsafe buffer.copyBytes(from: packet)
      var metadata = PacketMetadata()
      metadata.vlan = frame.vlan
      metadata.ethernetSource = frame.source
      // A capture taken on the sending machine shows checksums that the card was yet to compute; only what is whole on the
      // wire may be larger than a frame, so those are taken as they are.
      switch engine.receive(0, packet: 0..<packet.count, metadata: metadata, at: frame.time) {
      case .accept: writer.write(frame)
      case .drop: break
      case .mangle(let packet, _): writer.write(frame, with: unsafe gather(packet, engine.output.pieces))
      }
      writeInjections(&engine, at: frame.time, writer)
    }
    if let last = capture.lastTime { advance(&engine, to: last + .seconds(1), writer) }
    try writer.finish()
    let counters = engine.statistics.engine.named.filter { $0.value > 0 }
    print(counters.map { "\($0.name) \($0.value)" }.joined(separator: ", "))
  }

  /// Fires the timers that are due by `time`, each at its own time.
  private func advance(_ engine: inout Engine, to time: Instant, _ writer: CaptureWriter) {
    while let deadline = engine.nextDeadline, deadline <= time {
      engine.advance(to: deadline)
      writeInjections(&engine, at: deadline, writer)
    }
  }

  private func writeInjections(_ engine: inout Engine, at time: Instant, _ writer: CaptureWriter) {
    for injection in engine.output.injections {
      writer.write(unsafe gather(injection.packet, engine.output.pieces), isIPv6: injection.isIPv6, at: time)
    }
    engine.recycle()
  }

  private func gather(_ packet: OutgoingPacket, _ pieces: [UnsafeRawBufferPointer]) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(packet.length)
    for index in packet.pieces { unsafe bytes.append(contentsOf: pieces[index]) }
    return bytes
  }
}
