import Engine
import ModuleTesting

@testable import Modules

/// Pages with advertisements, and what they should be without.
enum Page {
  private static let words = [
    "<script", "<SCRIPT", "<Script src=\"http://pagead2.googlesyndication.com/pagead/show_ads.js\">", "<scr", "ipt",
    " src=\"a.js\"", " async data-x='", ">", ">", "</script>", "</SCRIPT>", "</script", "</scr", "</", "<", "script>",
    "google_ad", "google_", "ad", "doubleclick", "DoubleClick.net", "<p>text</p>", "\r\n", "\n", " ", "x", "</script >",
    "<!-- -->", "<script>var a = '<';</script>", "<script src=//ad.doubleclick.net/x></script>",
  ]

  /// A page rich in beginnings of tags that go on otherwise.
  static func random(_ random: inout SplitMix, words count: ClosedRange<Int> = 0...60) -> [UInt8] {
    (0..<Int.random(in: count, using: &random)).flatMap { _ in Array(words.randomElement(using: &random)!.utf8) }
  }

  /// A page as a site would make it, with an advertisement after every `spacing` octets.
  static func wellFormed(_ count: Int, spacing: Int = 400) -> [UInt8] {
    var page = "<!DOCTYPE html><html><head><script src=\"/app.js\"></script></head><body>\n"
    while page.utf8.count < count {
      page += String(repeating: "<p>Some <b>text</b> of the page.</p>\n", count: spacing / 37 + 1)
      page += "<script async src=\"https://pagead2.googlesyndication.com/pagead/js/adsbygoogle.js\">\nx < 1;</script>"
    }
    return Array((page + "</body></html>\n").utf8)
  }

  /// The page without the elements that match, done on the whole of it in the plainest way.
  ///
  ///     at the leftmost <script    up to the first > within 4,096 octets
  ///       has a pattern in it      removed with all up to and with the next </script>, or to the end of the page
  ///       has none                 looked for further behind it
  ///
  /// Of an element that does not end, what may be the beginning of its end tag stays at the end of the page.
  static func clipped(_ page: [UInt8], ads: [[UInt8]] = ScriptClipper.google.map(\.bytes)) -> [UInt8] {
    let lowered = page.map { (0x41...0x5A).contains($0) ? $0 + 32 : $0 }
    let closing = Array("</script>".utf8)
    var result: [UInt8] = []
    var at = 0
    while let tag = lowered.offset(of: Array("<script".utf8), from: at) {
      result += page[at..<tag]
      guard let end = lowered[tag..<min(tag + 4_096, page.count)].firstIndex(of: UInt8(ascii: ">")) else {
        at = min(tag + 4_096, page.count)
        result += page[tag..<at]
        continue
      }
      let element = Array(lowered[tag..<end])
      guard ads.contains(where: { element.offset(of: $0) != nil }) else {
        result += page[tag..<end]
        at = end
        continue
      }
      guard let close = lowered.offset(of: closing, from: end + 1) else {
        let rest = (1..<closing.count).last { lowered[(end + 1)...].suffix($0).elementsEqual(closing.prefix($0)) }
        return result + page.suffix(rest ?? 0)
      }
      at = close + closing.count
    }
    return result + page[at...]
  }
}
