import Engine
import ModuleTesting
import Testing

@testable import Modules

/// The clipper on a bare stream, without HTTP around it.
private struct Clip: ProcessingModule {
  static let description = ModuleDescription(
    kind: "clip", access: .edit, counters: ScriptClipper.counters, help: "Clips a stream.")
  var clipper = ScriptClipper(ScriptClipper.google)

  init(_ arguments: Arguments) {}
  mutating func process(_ window: inout Window) { clipper.edit(&window) }
}

struct ScriptClipperTests {
  @Test(arguments: [
    ("a<script src=pagead>x</script>b", "ab", 1),
    ("a<SCRIPT SRC=PageAd>x</Script>b", "ab", 1),
    ("a<script src=pagead></script><script src=doubleclick>x</script>b", "ab", 2),
    ("a<script src=x>pagead</script>b", "a<script src=x>pagead</script>b", 0),
    ("<script>w('<script src=pagead>y</script>')</script>", "<script>w('')</script>", 1),
    ("<script <script pagead>1</script>2", "2", 1),
    ("a<script src=pagead>x</scrap></script>b", "ab", 1),
    ("a<script src=pagead", "a<script src=pagead", 0),
    ("a<script src=pagead>never ends", "a", 1),
    ("a<script src=pagead>never ends</scr", "a</scr", 1),
    ("a<scripty pagead>x</script>b", "ab", 1),
    ("a<script pagead </script>x</script>b", "ab", 1),
    ("no tag", "no tag", 0),
  ])
  func clips(page: String, expected: String, scripts: Int) throws {
    for size in 1...page.utf8.count {
      let bench = try Bench(Clip.self)
      for start in stride(from: 0, to: page.utf8.count, by: size) {
        bench.feed(Array(page.utf8)[start..<min(start + size, page.utf8.count)])
      }
      bench.feed([], isEnded: true)
      #expect(bench.output.text == expected, "in pieces of \(size)")
      #expect(bench.count("scripts") == scripts, "in pieces of \(size)")
      #expect(bench.count("octets_clipped") == page.utf8.count - expected.utf8.count)
    }
    #expect(Page.clipped(Array(page.utf8)).text == expected, "the reference")
  }

  @Test func equalsTheReferenceHoweverThePageIsCut() throws {
    for seed in 0..<2_000 {
      var random = SplitMix(seed: seed)
      let page = Page.random(&random)
      let bench = try Bench(Clip.self)
      bench.feed(page, cutBy: &random)
      guard bench.output == Page.clipped(page) else {
        Issue.record("seed \(seed): \(page.text)\n\(bench.output.text)\n\(Page.clipped(page).text)")
        return
      }
    }
  }

  @Test(arguments: [4_095, 4_096, 4_097, 9_000])
  func letsAbsurdlyLongTagsPass(count: Int) throws {
    // The `>` is the octet at `count` - 1.
    let tag = "<script pagead" + String(repeating: " ", count: count - 15) + ">"
    let page = Array((tag + "x</script>y<script pagead>z</script>").utf8)
    #expect(Page.clipped(page).text == (count <= 4_096 ? "y" : tag + "x</script>y"))
    for size in [61, 1_000, 4_096, page.count] {
      let bench = try Bench(Clip.self)
      for start in stride(from: 0, to: page.count, by: size) {
        bench.feed(page[start..<min(start + size, page.count)])
      }
      bench.feed([], isEnded: true)
      #expect(bench.output == Page.clipped(page), "in pieces of \(size)")
    }
  }

  @Test func holdsNoWholeElement() throws {
    let bench = try Bench(Clip.self)
    bench.feed(Array("text<script src=pagead>".utf8) + [UInt8](repeating: 0x20, count: 30_000))
    #expect(bench.output.text == "text")
    #expect(bench.held == 0)
    bench.feed(Array("</scr".utf8))
    #expect(bench.held == 5)
  }

  @Test func endsTheClipAtHalfAnEndTagThatIsHeldTooLong() throws {
    let bench = try Bench(Clip.self)
    bench.feed(Array("a<script src=pagead>x</scr".utf8))
    bench.expire()
    bench.feed(Array("ipt>the page".utf8), isEnded: true)
    #expect(bench.output.text == "a</script>the page")
  }

  @Test func letsHalfATagPassThatIsHeldTooLong() throws {
    let bench = try Bench(Clip.self)
    bench.feed(Array("a<script src=pag".utf8))
    bench.expire()
    bench.feed(Array("ead>x</script>b".utf8), isEnded: true)
    #expect(bench.output.text == "a<script src=pagead>x</script>b")
  }
}
