"""The edit that `adblock` makes, as an addon of mitmproxy (https://docs.mitmproxy.org/stable/addons-overview/)."""

import re

AD = re.compile(
    rb"<script[^>]*(?:googlesyndication|doubleclick|googletagservices|googleadservices|adservice\.google|google_ad"
    rb"|adsbygoogle|pagead)[^>]*>.*?</script>", re.IGNORECASE | re.DOTALL)


def response(flow):
    if flow.response.headers.get("Content-Type", "").startswith("text/html"):
        flow.response.content = AD.sub(b"", flow.response.content)
