import Engine

/// The modules that come with FlowOS.
public enum Shipped {
  public static let modules: [any ProcessingModule.Type] = [Counter.self]
}
