import Foundation

/// A run of the `flowctl` binary that was built together with these tests.
struct FlowctlProcess {
  let code: Int32
  let output: String
  let complaint: String

  /// - Parameter input: what it finds at its standard input.
  init(_ arguments: [String], environment: [String: String] = [:], input: String = "") throws {
    let process = Process()
    process.executableURL = Self.directory.appendingPathComponent("flowctl")
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { _, new in new }
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

  /// Where the build puts its products: the test bundle lies beside the binaries.
  private static let directory = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
}

extension RunningServer {
  /// Runs `flowctl` against this server.
  func flowctl(_ arguments: String..., input: String = "") throws -> FlowctlProcess {
    try flowctl(arguments, input: input)
  }

  func flowctl(_ arguments: [String], input: String = "") throws -> FlowctlProcess {
    try FlowctlProcess(arguments, environment: ["FLOWOS_SOCKET": path], input: input)
  }
}
