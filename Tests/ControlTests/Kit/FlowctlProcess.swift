import Control
import Foundation

/// A run of the `flowctl` binary that was built together with these tests.
struct FlowctlProcess {
  let code: Int32
  let output: String
  let complaint: String

  /// - Parameter input: what it finds at its standard input.
  init(_ arguments: [String], environment: [String: String] = [:], input: String = "") throws {
    let process = Self.prepare(arguments, environment)
    let (standardInput, standardOutput, standardError) = (Pipe(), Pipe(), Pipe())
    process.standardInput = standardInput
    process.standardOutput = standardOutput
    process.standardError = standardError
    try process.run()
    standardInput.fileHandleForWriting.write(Data(input.utf8))
    try standardInput.fileHandleForWriting.close()
    output = String(decoding: standardOutput.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    complaint = String(decoding: standardError.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    code = process.terminationStatus
  }

  fileprivate static func prepare(_ arguments: [String], _ environment: [String: String]) -> Process {
    let process = Process()
    process.executableURL = directory.appendingPathComponent("flowctl")
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { _, new in new }
    return process
  }

  /// Where the build puts its products: the test bundle lies beside the binaries.
  private static let directory = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
}

/// A run of `flowctl` that goes on until it is ended.
final class RunningFlowctl {
  private let process: Process
  private let output = Pipe()
  private let errors = Pipe()

  init(_ arguments: [String], environment: [String: String]) throws {
    process = FlowctlProcess.prepare(arguments, environment)
    process.standardOutput = output
    process.standardError = errors
    try process.run()
  }

  deinit { if process.isRunning { process.terminate() } }

  /// The next line that it writes; nil at the end.
  func line() -> String? {
    var octets: [UInt8] = []
    while let octet = output.fileHandleForReading.readData(ofLength: 1).first {
      if octet == UInt8(ascii: "\n") { return String(decoding: octets, as: UTF8.self) }
      octets.append(octet)
    }
    return nil
  }

  /// What a terminal does at Ctrl-C.
  func interrupt() { process.interrupt() }

  /// Its exit code and what it complains of, once it has ended.
  func end() -> (code: Int32, complaint: String) {
    let complaint = errors.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (
      process.terminationReason == .exit ? process.terminationStatus : -1, String(decoding: complaint, as: UTF8.self)
    )
  }
}

extension RunningServer {
  /// Runs `flowctl monitor` against this server, and waits until it listens.
  func monitor(_ arguments: String...) throws -> RunningFlowctl {
    let run = try RunningFlowctl(["monitor"] + arguments, environment: ["FLOWOS_SOCKET": path])
    waitUntil { dataPlane.events.isWanted }
    return run
  }

  /// Runs `flowctl` against this server.
  func flowctl(_ arguments: String..., input: String = "") throws -> FlowctlProcess {
    try flowctl(arguments, input: input)
  }

  func flowctl(_ arguments: [String], input: String = "") throws -> FlowctlProcess {
    try FlowctlProcess(arguments, environment: ["FLOWOS_SOCKET": path], input: input)
  }
}
