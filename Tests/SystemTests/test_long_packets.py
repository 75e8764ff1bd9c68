"""Packets longer than a queue hands over: BIG TCP over IPv4 (Linux 6.3 and later), between interfaces that allow it."""

import socket
import struct
import unittest

import kit
from daemon import DaemonTest
from transfer import MIB, open_pair

SIZE = 150_000
RTM_NEWLINK, NLM_F_REQUEST, NLM_F_ACK = 16, 1, 4
# linux/if_link.h; the tool `ip` of Debian 12 does not know them.
IFLA_GSO_IPV4_MAX_SIZE, IFLA_GRO_IPV4_MAX_SIZE = 63, 64


def setUpModule():
    kit.require_kernel()


def allow_long_packets(interface):
    """Has an interface of the current namespace send and put together packets of up to so many octets."""
    attributes = b"".join(struct.pack("=HHI", 8, kind, SIZE) for kind in (IFLA_GSO_IPV4_MAX_SIZE, IFLA_GRO_IPV4_MAX_SIZE))
    link = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, socket.if_nametoindex(interface), 0, 0) + attributes
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.send(struct.pack("=IHHII", 16 + len(link), RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, 1, 0) + link)
        [error] = struct.unpack_from("=i", netlink.recv(4096), 16)
    if error:
        raise unittest.SkipTest("this kernel has no BIG TCP over IPv4 (Linux 6.3)")


class LongPackets(DaemonTest):
    def setUp(self):
        super().setUp()
        for namespace, interfaces in ((self.net.client, ["eth0"]), (self.net.server, ["eth0"]),
                                      (self.net.router, ["client0", "server0"])):
            for interface in interfaces:
                namespace.inside(lambda: allow_long_packets(interface))

    def transfer(self, **options):
        """Sends enough both ways that some of the packets are long."""
        self.check_transfer(*open_pair(self.net), 16 * MIB, **options)
        self.assertGreater(self.flowos.counters()["queue_truncated"], 0)

    def test_none_passes_by_an_editor(self):
        self.edit()
        self.transfer()
        self.assertIn("gso_max_size 65000", self.flowos.process.stderr)

    def test_none_passes_by_a_reader(self):
        self.attach("ip_proto=6", "counter", flow="all")
        self.transfer(edits=())
        # Each octet of both directions, once.
        self.assertEqual(self.flowos.module("all", "counter")["counters"]["octets_in"], 2 * 16 * MIB)

    def test_all_pass_where_no_flow_matches(self):
        self.attach("ip_proto=6,tcp_dst=1", "counter", flow="all")
        self.transfer(edits=())
        self.assertEqual(self.flowos.counters()["dropped"], 0)
