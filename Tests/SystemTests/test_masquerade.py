"""Edits on a router that hides the client behind its own address."""

import contextlib

import kit
import pages
from daemon import DaemonTest
from transfer import MIB, cats, exchange, open_pair
from web import Nginx, download


def setUpModule():
    kit.require_kernel()


class Masquerade(DaemonTest):
    """With rules that drop what connection tracking calls INVALID, as careful routers have them."""

    def setUp(self):
        super().setUp()
        self.net.masquerade()
        for command in ("iptables", "ip6tables"):
            self.net.router.run(command, "-w", "-A", "FORWARD", "-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP")

    def invalid(self):
        """Packets that connection tracking has called so."""
        rows = [row.split() for command in ("iptables", "ip6tables")
                for row in self.net.router.run(command, "-w", "-nvxL", "FORWARD").stdout.splitlines()]
        counts = [int(row[0]) for row in rows if row[2:3] == ["DROP"]]
        self.assertEqual(len(counts), 2)
        return sum(counts)

    def test_a_page(self):
        web = self.enterContext(Nginx(self.net.server))
        self.attach("ip_proto=6,tcp_src=80", "adblock")
        page = pages.page(16 * MIB, seed=1)
        wanted, _ = pages.without_ads(page)
        web.put("page.html", page)
        for ipv6 in (False, True):
            for name in ("page.html", "unsized/page.html"):
                with self.subTest(ipv6=ipv6, name=name):
                    got, = download(self.net.client, self.address(ipv6), name)
                    self.assert_same(got.content, wanted)
                    self.assertIn(web.requests()[-1][0], ("10.77.2.1", "fd00:77:2::1"))
        self.assertEqual(self.invalid(), 0)

    def test_both_directions_with_loss(self):
        self.attach("ip_proto=6", "replace", "from=cat", "to=caterpillar")
        upload, download = cats(8 * MIB, seed=1), cats(8 * MIB, seed=2)
        with contextlib.ExitStack() as stack:
            for where in ("before", "after"):
                stack.enter_context(self.net.losing(0.01, "both", where=where))
            for ipv6 in (False, True):
                with self.subTest(ipv6=ipv6):
                    client, server = open_pair(self.net, ipv6=ipv6)
                    with client, server:
                        up, down = exchange(client, server, upload, download)
                    self.assert_same(up, upload.replace(b"cat", b"caterpillar"))
                    self.assert_same(down, download.replace(b"cat", b"caterpillar"))
        self.assertEqual(self.invalid(), 0)
