"""A web page with ads, from a real nginx through the router to a real curl."""

import contextlib
import functools
import gzip

import kit
import pages
from daemon import DaemonTest
from web import Nginx, download

MIB = 1 << 20


def setUpModule():
    kit.require_kernel()


@functools.cache
def big():
    """The page of 64 MiB with thousands of ads, what is to be left of it, and the number of ads."""
    page = pages.page(64 * MIB, seed=1)
    return page, *pages.without_ads(page)


class Page(DaemonTest):
    def setUp(self):
        super().setUp()
        self.web = self.enterContext(Nginx(self.net.server))
        self.adblock = self.attach("ip_proto=6,tcp_src=80", "adblock")

    def download(self, *names, ipv6=False, options=()):
        return download(self.net.client, self.address(ipv6), *names, options=options)

    def check_big(self, *, name="big.html", ipv6=False, options=()):
        page, wanted, ads = big()
        self.web.put("big.html", page)
        before = self.flowos.module("web", self.adblock)
        got, = self.download(name, ipv6=ipv6, options=options)
        self.assert_same(got.content, wanted)
        self.assertGreater(ads, 5_000)
        after = self.flowos.module("web", self.adblock)

        def counted(kind, counter):
            return after[kind][counter] - before[kind][counter]

        self.assertEqual(counted("own", "scripts"), ads)
        self.assertEqual(counted("own", "octets_clipped"), len(page) - len(wanted))
        self.assertEqual(counted("own", "responses"), 1)
        self.assertGreaterEqual(counted("counters", "octets_removed"), len(page) - len(wanted))
        self.assertEqual(counted("counters", "forced_releases"), 0)
        # Nobody stands in between: the server talks to the client's own address and port.
        self.assertEqual(self.web.requests()[-1][:2], [got.address, got.port])

    def check_big_with_loss(self, where):
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6), self.net.losing(0.01, "both", where=where):
                self.check_big(ipv6=ipv6)

    def test_with_content_length(self):
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                self.check_big(ipv6=ipv6)

    def test_chunked(self):
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                self.check_big(name="unsized/big.html", ipv6=ipv6)

    def test_delimited_by_the_end_of_the_connection(self):
        self.check_big(name="unsized/big.html", options=("--http1.0",))

    def test_gzip_is_not_accepted_on_the_way(self):
        page = pages.page(MIB, seed=2)
        self.web.put("page.html", page)
        options = ("-H", "Accept-Encoding: gzip")
        got, = self.download("page.html", options=options)
        self.assert_same(got.content, pages.without_ads(page)[0])
        # Without the module the same request is answered with gzip.
        self.flowos.ctl("pm", "detach", "web", self.adblock)
        got, = self.download("page.html", options=options)
        self.assert_same(gzip.decompress(got.content), page)

    def test_ten_pages_over_one_connection(self):
        originals = [pages.page(size, seed=size) for size in (100, 5_000, 40_000, 200_000, MIB)]
        for number, page in enumerate(originals):
            self.web.put(f"{number}.html", page)
        self.web.put("other.bin", originals[-1])
        names = [f"{number}.html" for number in range(5)] + [f"unsized/{number}.html" for number in range(4)]
        got = self.download(*names, "other.bin")
        self.assertEqual([one.connects for one in got], [1] + [0] * 9)
        for one, page in zip(got, originals + originals[:4]):
            self.assert_same(one.content, pages.without_ads(page)[0])
        # What is no page stays as it is.
        self.assert_same(got[-1].content, originals[-1])
        self.assertEqual(len({request[2] for request in self.web.requests()}), 1)

    def test_the_big_page_ten_times_over_one_connection_with_loss(self):
        page, wanted, ads = big()
        self.web.put("big.html", page)
        for ipv6, where in ((False, "before"), (True, "after")):
            with self.subTest(ipv6=ipv6, loss=where), self.net.losing(0.01, "both", where=where):
                before = self.flowos.module("web", self.adblock)["own"]["scripts"]
                got = self.download(*["big.html", "unsized/big.html"] * 5, ipv6=ipv6)
                self.assertEqual([one.connects for one in got], [1] + [0] * 9)
                for one in got:
                    self.assert_same(one.content, wanted)
                self.assertEqual(self.flowos.module("web", self.adblock)["own"]["scripts"] - before, 10 * ads)

    def test_a_page_without_ads_is_not_touched(self):
        page = b"<html>" + b"<p>text</p>\n" * 100_000 + b"</html>"
        self.web.put("page.html", page)
        got, = self.download("page.html")
        self.assert_same(got.content, page)
        self.assertEqual(self.flowos.module("web", self.adblock)["own"]["scripts"], 0)

    def test_with_loss_before_the_router(self):
        self.check_big_with_loss("before")

    def test_with_loss_behind_the_router(self):
        self.check_big_with_loss("after")

    def test_with_loss_everywhere_and_no_large_segments(self):
        page = pages.page(4 * MIB, seed=3)
        wanted, ads = pages.without_ads(page)
        self.web.put("page.html", page)
        for namespace, interface in ((self.net.server, "eth0"), (self.net.client, "eth0")):
            namespace.run("ip", "link", "set", interface, "gso_max_segs", "1")
        with contextlib.ExitStack() as stack:
            for where in ("before", "after"):
                stack.enter_context(self.net.losing(0.01, "both", where=where))
            for name in ("page.html", "unsized/page.html"):
                got, = self.download(name)
                self.assert_same(got.content, wanted)
        self.assertEqual(self.flowos.module("web", self.adblock)["own"]["scripts"], 2 * ads)
        self.assertGreater(self.flowos.counters()["retransmitted"], 0)
