import Engine

/// The modules that come with FlowOS.
public enum Shipped {
  /// In the order in which `flowctl pm types` lists them.
  public static let modules: [any ProcessingModule.Type] = [
    Counter.self, Replace.self, AdBlock.self, Gather.self, RateLimit.self, Delay.self, IPChecksum.self, Firewall.self,
    NAT.self,
  ]
}
