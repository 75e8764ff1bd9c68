import Glibc
import SystemPackage

/// A system call that failed: what was tried, what the kernel said, and what would mend it.
public struct NetfilterError: Error, Sendable, CustomStringConvertible {
  /// What was being done, and to what, such as `bind queue 0`.
  public let operation: String
  public let errno: Errno
  /// What the user can do about it, where that is known.
  public let remedy: String?

  init(_ operation: String, _ errno: Errno, remedy: String? = nil) {
    self.operation = operation
    self.errno = errno
    self.remedy = remedy
  }

  public var description: String {
    "cannot \(operation): \(errno)" + (remedy.map { "; \($0)" } ?? "")
  }
}

/// Makes a system call, again when a signal interrupts it, and turns its -1 into the error that `errno` names.
@inline(__always)
func systemCall<Value: SignedInteger>(_ call: () -> Value) -> Result<Value, Errno> {
  while true {
    let value = call()
    if value != -1 { return .success(value) }
    let error = Errno(rawValue: errno)
    if error != .interrupted { return .failure(error) }
  }
}

extension Result where Failure == Errno {
  /// The value, or the error with what was being done.
  func or(_ operation: @autoclosure () -> String, remedy: String? = nil) throws(NetfilterError) -> Success {
    switch self {
    case .success(let value): return value
    case .failure(let error): throw NetfilterError(operation(), error, remedy: remedy)
    }
  }
}
