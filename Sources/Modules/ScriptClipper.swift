import Engine

/// Removes `<script …>…</script>` from a page where the opening tag, up to its first `>`, contains one of the patterns.
///
/// On a page as a whole that is `re.sub(rb'<script[^>]*(?:PATTERN|…)[^>]*>.*?</script>', b'', page, flags=re.I|re.S)`,
/// but done while the page goes by: only a tag without its `>` is held. So it differs where an element does not end:
/// what has been clipped until the end of the page stays so.
struct ScriptClipper: BodyEditor {
  static let counters = ["scripts", "octets_clipped"]
  static let mediaTypes = ["text/html", "application/xhtml+xml"]

  /// What the tags of Google's ad scripts contain.
  static let google = [
    "googlesyndication", "doubleclick", "googletagservices", "googleadservices", "adservice.google", "google_ad",
    "adsbygoogle", "pagead",
  ].map { Pattern($0, ignoringCase: true) }

  private static let opening = Pattern("<script", ignoringCase: true)
  private static let closing = Pattern("</script>", ignoringCase: true)
  private static let tagEnd: Pattern = ">"
  /// Octets of an opening tag within which its `>` must stand; longer ones pass.
  static let longestTag = 4_096

  private var ads: PatternSet
  private var isClipping = false

  init(_ ads: [Pattern]) { self.ads = PatternSet(ads) }

  mutating func edit(_ page: inout Window) {
    var done = 0
    while done < page.count {
      let finding = page.search(isClipping ? Self.closing : Self.opening, from: done)
      let next = finding.start ?? page.count
      if isClipping { clip(done..<next, &page) } else { done = next }
      guard case .match = finding, let tag = tag(at: done, in: &page) else { break }
      let isAd = !isClipping && page.contains(anyOf: ads, in: tag.dropLast())
      if isClipping || isAd { clip(tag, &page) } else { done = tag.upperBound }
      if isAd { page.count(0) }
      isClipping = isAd
    }
    // Half an end tag that has to go now ends the clip: the rest of it does no harm, clipping on to the next one would.
    if page.mustRelease && done < page.count { isClipping = false }
    page.release(upTo: done)
  }

  /// The tag at `start` with its `>`; nil where that is yet to come, and where it is too far away an empty range behind
  /// what is passed over.
  private func tag(at start: Int, in page: inout Window) -> Range<Int>? {
    let limit = start + Self.longestTag
    if let end = page.find(Self.tagEnd, in: start..<min(limit, page.count)) { return start..<end + 1 }
    return limit <= page.count ? limit..<limit : nil
  }

  private func clip(_ range: Range<Int>, _ page: inout Window) {
    page.remove(range)
    page.count(1, by: range.count)
  }

  mutating func adopt(_ prototype: Self) { ads = prototype.ads }
}
