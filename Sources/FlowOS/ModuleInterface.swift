// What the author of a module needs, so that `import FlowOS` is the one import of a module. The rest of the engine is for
// those who drive it. Operators of a type cannot be handed on by themselves: an author reckons with `Instant.nanoseconds`.

@_exported import struct Engine.ArgumentError
@_exported import struct Engine.Arguments
@_exported import enum Engine.ConnectionChange
@_exported import struct Engine.ConnectionIdentity
@_exported import struct Engine.IPAddress
@_exported import struct Engine.Instant
@_exported import struct Engine.ModuleDescription
@_exported import typealias Engine.Nanoseconds
@_exported import struct Engine.PacketDescription
@_exported import struct Engine.Parameter
@_exported import struct Engine.Pattern
@_exported import protocol Engine.ProcessingModule
@_exported import struct Engine.Report
@_exported import struct Engine.Window
