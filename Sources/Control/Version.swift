/// The version of this package, of which `flowos` and `flowctl` are two halves.
public enum Version {
  public static let current = "0.1.0"
}
