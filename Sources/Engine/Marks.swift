/// The four bits of the netfilter mark that belong to FlowOS; all others are left as they are.
///
/// `iptables/flowos-chain` tests and sets the same bits, so both must be given the same mask.
///
/// | bit | on | means |
/// | --- | --- | --- |
/// | ``injected`` | packet | made by the engine: never queued again |
/// | ``edited`` | packet, connection | its sequence numbers are shifted: nothing passes without the daemon |
/// | ``offloaded`` | packet, connection | the kernel forwards it alone, the daemon has no more interest |
/// | ``untracked`` | packet | injected in a direction that connection tracking knows by translated addresses only: it must not be tracked |
public struct Marks: Sendable, Equatable {
  public let injected: UInt32
  public let edited: UInt32
  public let offloaded: UInt32
  public let untracked: UInt32

  /// All four bits.
  public let mask: UInt32

  /// The bits of `0xf0000000`.
  public static let standard = Marks(mask: 0xf000_0000)!

  /// Gives the bits of `mask` their meanings, from the lowest up: injected, edited, offloaded, untracked.
  ///
  /// - Returns: nil unless exactly four bits of `mask` are set; they need not be neighbours.
  public init?(mask: UInt32) {
    guard mask.nonzeroBitCount == 4 else { return nil }
    var rest = mask
    func lowest() -> UInt32 {
      let bit = rest & (~rest &+ 1)
      rest &= ~bit
      return bit
    }
    injected = lowest()
    edited = lowest()
    offloaded = lowest()
    untracked = lowest()
    self.mask = mask
  }
}
