import Engine

/// Edits the bodies of HTTP responses, one at a time; ``HTTPBody`` leads the bodies to it.
///
/// A value: every body starts with a copy of the prototype, so stored properties are the state of that body.
public protocol BodyEditor: Sendable {
  /// Names of what the editor counts, in the order of `Window.count(_:by:)`'s index.
  static var counters: [String] { get }

  /// The media types of the bodies it wants, in lower case, as in `text/html`.
  static var mediaTypes: [String] { get }

  /// Works on the body, without any framing, as `ProcessingModule.process(_:)` does on a stream. `mustRelease` is set
  /// at the end of the body too, and what is not released then goes unedited.
  mutating func edit(_ body: inout Window)

  /// Takes over the parameters of `prototype` within a body.
  mutating func adopt(_ prototype: Self)
}
