"""HTML pages with ads in them, always the same for the same seed, and what is left of them."""

import random
import re

# The edit that `adblock` makes, on the page as a whole.
AD = re.compile(
    rb"<script[^>]*(?:googlesyndication|doubleclick|googletagservices|googleadservices|adservice\.google|google_ad"
    rb"|adsbygoogle|pagead)[^>]*>.*?</script>", re.IGNORECASE | re.DOTALL)

_ADS = (
    b'<script async src="https://pagead2.googlesyndication.com/pagead/js/adsbygoogle.js?client=ca-pub-%d"></script>',
    b"<SCRIPT TYPE='text/javascript' SRC='//ad.doubleclick.net/ddm/adj/N%d;sz=728x90'></SCRIPT>",
    b'<script\n  async\n  src="https://www.googletagservices.com/tag/js/gpt.js?n=%d"\n></script>',
    b'<script src="//pagead2.googlesyndication.com/%d.js">\n(adsbygoogle = window.adsbygoogle || []).push({\n'
    b'  "if": "a < b && c > d",\n  "<script": "not an end"\n});\n</script>',
    b'<ScRiPt data-ad="GOOGLE_AD_%d">/* inline */\nvar x = 1;\n</sCrIpT>',
)
# What must stay, although it looks like one.
_OTHERS = (
    b'<script src="/js/app-%d.js"></script>',
    b"<script>\nvar adsbygoogle = %d; // the pattern stands in the body, not in the tag\n</script>",
    b'<scrip src="https://pagead2.googlesyndication.com/%d.js"></scrip>',
    b'<p title="googlesyndication">advertisement %d</p>',
)


def page(size, *, seed, distance=12_000):
    """An HTML page of about `size` octets with an ad about every `distance` octets, and other scripts in between."""
    source = random.Random(seed)
    words = [bytes(source.choices(b"abcdefghijklmnopqrstuvwxyz", k=source.randint(1, 12))) for _ in range(2_000)]
    # More of it than the longest run.
    text = b" ".join(source.choices(words, k=max(40_000, distance // 2)))
    lines = bytearray(text)
    for _ in range(len(text) // 90):
        lines[source.randrange(len(text))] = source.choice(b"\n\n\n<>/")
    text = bytes(lines)
    parts = [b"<!doctype html>\n<html><head><title>A page with ads</title></head><body>\n"]
    length = 0
    while length < size:
        run = source.randint(1, 2 * distance)
        start = source.randrange(len(text) - run)
        parts.append(text[start:start + run])
        parts.append(source.choice(_OTHERS) % source.randrange(1_000_000))
        parts.append(source.choice(_ADS) % source.randrange(1_000_000))
        length += run
    parts.append(b"\n</body></html>\n")
    return b"".join(parts)


def without_ads(page):
    """The page as `adblock` must leave it, and how many ads it had."""
    return AD.subn(b"", page)
