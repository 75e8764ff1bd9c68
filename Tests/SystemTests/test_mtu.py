"""Links of other sizes, also different ones on the two sides of the router."""

import kit
from daemon import DaemonTest
from transfer import open_pair


def setUpModule():
    kit.require_kernel()


class MTU(DaemonTest):
    def check(self, pairs, *, ipv6):
        # Growth alone: what a full segment grows into has to be split everywhere.
        edits = [(b"cat", b"caterpillar")]
        self.edit(edits)
        for client_mtu, server_mtu in pairs:
            with self.subTest(client=client_mtu, server=server_mtu):
                self.net.set_mtu(client_mtu, server_mtu)
                self.check_transfer(*open_pair(self.net, ipv6=ipv6), 500_000, edits=edits)
        counters = self.flowos.counters()
        self.assertEqual((counters["injection_failures"], counters["aborted"]), (0, 0))
        # What was made too large would have been fragmented, or been lost and come again.
        for namespace in (self.net.client, self.net.router, self.net.server):
            self.assertEqual(namespace.counter("FragCreates"), 0)
            self.assertEqual(namespace.counter("ReasmReqds"), 0)
            self.assertEqual(namespace.counter("OutDestUnreachs"), 0)

    def test_ipv4(self):
        self.check([(576, 9000), (9000, 576), (576, 576), (1500, 576), (9000, 1500), (9000, 9000)], ipv6=False)

    def test_ipv6(self):
        self.check([(1280, 9000), (9000, 1280), (1280, 1280), (1500, 1280), (9000, 9000)], ipv6=True)
