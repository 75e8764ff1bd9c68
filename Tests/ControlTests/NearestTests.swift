import Testing

@testable import Control

@Suite("Suggestions")
struct NearestTests {
  @Test(
    "The nearest name, where it is near",
    arguments: [
      ("wbe", "web"), ("replac", "replace"), ("REPLACE", "replace"), ("xyz", nil), ("", nil),
      (String(repeating: "x", count: 100_000), nil),
    ] as [(String, String?)])
  func nearest(text: String, expected: String?) {
    #expect(Nearest.name(to: text, among: ["replace", "web", "log"]) == expected)
  }
}
