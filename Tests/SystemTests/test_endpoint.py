"""A router that is itself an end of the connections: steered in INPUT and OUTPUT."""

import contextlib
import hashlib

import kit
from daemon import DaemonTest
from transfer import MIB, End, cats, open_pair


def setUpModule():
    kit.require_kernel()


class Endpoint(DaemonTest):
    def setUp(self):
        super().setUp()
        for command in ("iptables", "ip6tables"):
            for chain in ("INPUT", "OUTPUT"):
                self.net.router.run(command, "-w", "-t", "mangle", "-A", chain, "-p", "tcp", "-j", "FLOWOS")
        self.attach("ip_proto=6", "replace", "hold=60000", "from=cat", "to=caterpillar", flow="all")
        self.attach("ip_proto=6", "replace", "hold=60000", "from=act", "to=", flow="all")

    def check(self, client, server):
        upload, download = cats(4 * MIB, seed=8), cats(4 * MIB, seed=9)
        with client, server:
            ends = End(client, upload), End(server, download)
            received = [end.finish() for end in ends]
        for got, sent in zip(received, (download, upload)):
            wanted = sent.replace(b"cat", b"caterpillar").replace(b"act", b"")
            self.assertEqual((len(got), hashlib.sha256(got).digest()), (len(wanted), hashlib.sha256(wanted).digest()))

    def test_a_server_on_the_router(self):
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                self.check(*open_pair(self.net, ipv6=ipv6, server=self.net.router))

    def test_a_client_on_the_router_with_loss(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.net.router.losing(0.01, "server0"))
            stack.enter_context(self.net.server.losing(0.01, "eth0"))
            for ipv6 in (False, True):
                with self.subTest(ipv6=ipv6):
                    self.check(*open_pair(self.net, ipv6=ipv6, client=self.net.router))
