import FlowOS

/// Puts packets into another class of service (DSCP, RFC 2474).
struct Remark: ProcessingModule {
  static let description = ModuleDescription(
    kind: "remark", layer: .ip, access: .edit,
    parameters: [Parameter("dscp", .integer(0...63), help: "the class that packets get")],
    counters: ["packets"], help: "Sets the DSCP of packets.")

  private let dscp: UInt16

  init(_ arguments: Arguments) { dscp = UInt16(arguments.integer("dscp")) }

  mutating func process(_ window: inout Window) {
    guard let packet = window.packet else { return }
    // IPv6 has it four bits further to the left.
    let shift: UInt16 = packet.isIPv6 ? 6 : 2
    let old = window.uint16(at: 0)
    let new = old & ~(63 << shift) | dscp << shift
    guard new != old else { return }
    window.replace(at: 0, with: new)
    window.count(0)
  }
}
