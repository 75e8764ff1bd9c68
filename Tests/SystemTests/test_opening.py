"""Connections that open in ways of their own: by both ends at once, with data, for several paths, or signed."""

import errno
import select
import socket
import struct

import kit
from daemon import DaemonTest
from transfer import EDITS, MIB, cats, edited, exchange

IPPROTO_MPTCP, SOL_MPTCP, MPTCP_INFO = 262, 284, 1
TCP_MD5SIG = 14
TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ, TCP_SEND_QUEUE = 19, 20, 21, 2


def setUpModule():
    kit.require_kernel()


def start_numbers_at(number):
    """Gives a socket that is going to connect its initial sequence number."""
    def prepare(opened):
        for option, value in (
                (TCP_REPAIR, 1), (TCP_REPAIR_QUEUE, TCP_SEND_QUEUE), (TCP_QUEUE_SEQ, number), (TCP_REPAIR, 0)):
            opened.setsockopt(socket.IPPROTO_TCP, option, struct.pack("=I", value))
    return prepare


class FirstNumbers(DaemonTest):
    def test_a_client_just_before_the_end_of_the_space(self):
        """Numbers that begin anew in the middle of a transfer; SimultaneousOpen does it with those of both ends."""
        self.edit()
        for number in ((1 << 32) - 1, (1 << 32) - 2, (1 << 32) - 300_000, (1 << 31) - 100_000):
            for ipv6 in (False, True):
                with self.subTest(number=number, ipv6=ipv6), self.net.server.listen(5000, ipv6=ipv6) as listener:
                    client = self.net.client.connect(self.address(ipv6), 5000, prepare=start_numbers_at(number))
                    server, _ = listener.accept()
                    self.check_transfer(client, server, MIB)


class SimultaneousOpen(DaemonTest):
    def make_topology(self):
        return kit.Topology(emulated=True)

    def open(self, ipv6, number):
        """Two sockets that have called each other. None listens, so it opens only if their SYNs meet on the way."""
        port = next(self._ports)
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        ends = [(end.socket(family), end.ipv6 if ipv6 else end.ipv4) for end in (self.net.client, self.net.server)]
        for opened, address in ends:
            opened.bind((address, port))
            start_numbers_at(number)(opened)
            opened.setblocking(False)
        (client, client_address), (server, server_address) = ends
        for opened, peer in ((client, server_address), (server, client_address)):
            self.assertEqual(opened.connect_ex((peer, port)), errno.EINPROGRESS)
        for opened in (client, server):
            self.assertTrue(select.select([], [opened], [], 10)[1], "the connection does not open")
            self.assertEqual(opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0)
            opened.settimeout(30)
        return client, server

    def test_edited_with_numbers_of_both_ends_just_before_the_end_of_the_space(self):
        self.edit()
        self._ports = iter(range(5000, 5010))
        for number, link in enumerate((self.net.client_link, self.net.server_link)):
            # Long enough for either SYN to be on its way before the other one comes.
            link.set({"delay": 0.02}, seed=number)
        for number in ((1 << 32) - 1, (1 << 32) - 100_000):
            for ipv6 in (False, True):
                with self.subTest(number=number, ipv6=ipv6):
                    client, server = self.open(ipv6, number)
                    self.check_transfer(client, server, 300_000)
                    self.assertTrue(self.flowos.connections()[-1]["edited"])


class FastOpen(DaemonTest):
    def setUp(self):
        super().setUp()
        for end in (self.net.client, self.net.server):
            end.write_sysctl("net.ipv4.tcp_fastopen", 3)

    def check(self, ipv6, edits):
        """Two connections that begin with data; the second could have it in the SYN, for it has a cookie."""
        upload, download = b"the cat goes first. " * 20 + cats(MIB, seed=1), cats(MIB, seed=2)
        for _ in range(2):
            with self.net.server.listen(5000, ipv6=ipv6) as listener:
                listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
                client = self.net.client.socket(socket.AF_INET6 if ipv6 else socket.AF_INET)
                client.setblocking(True)
                sent = client.sendto(upload[:400], socket.MSG_FASTOPEN, (self.address(ipv6), 5000))
                server, _ = listener.accept()
                server.settimeout(10)
                with client, server:
                    up, down = exchange(client, server, upload[sent:], download)
                self.assert_same(up, edited(upload, edits))
                self.assert_same(down, edited(download, edits))

    def test_under_a_reader_it_stays_and_is_read(self):
        self.attach("ip_proto=6,tcp_dst=5000", "counter", flow="up")
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                self.check(ipv6, [])
        # One of the two of each family had a cookie.
        self.assertEqual(self.net.server.counter("TCPFastOpenPassive"), 2)
        self.assertEqual(self.flowos.counters()["syn_data"], 2)
        self.assertEqual(self.flowos.module("up", "counter")["own"]["octets"], 4 * (400 + MIB))

    def test_under_an_editor_the_data_comes_later_and_is_edited(self):
        with self.subTest("a cookie from before"):
            self.check(False, [])
        self.assertEqual(self.net.server.counter("TCPFastOpenPassive"), 1)
        self.edit()
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                self.check(ipv6, EDITS)
        self.assertEqual(self.net.server.counter("TCPFastOpenPassive"), 1)
        self.assertEqual(self.flowos.counters()["syn_data"], 0)


class Multipath(DaemonTest):
    def setUp(self):
        super().setUp()
        for end in (self.net.client, self.net.server):
            end.write_sysctl("net.mptcp.enabled", 1)

    def open(self, ipv6):
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        with self.net.server.socket(family, protocol=IPPROTO_MPTCP) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("", 5000))
            listener.listen()
            client = self.net.client.socket(family, protocol=IPPROTO_MPTCP)
            client.connect((self.address(ipv6), 5000))
            server, _ = listener.accept()
            server.settimeout(10)
        return client, server

    def is_multipath(self, opened):
        """Whether the kernel has not fallen back to TCP."""
        try:
            opened.getsockopt(SOL_MPTCP, MPTCP_INFO, 256)
        except OSError as error:
            self.assertIn(error.errno, (errno.EOPNOTSUPP, errno.ENOPROTOOPT))
            return False
        return True

    def test_under_an_editor_it_is_tcp_and_edited(self):
        self.edit()
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                client, server = self.open(ipv6)
                self.assertEqual((self.is_multipath(client), self.is_multipath(server)), (False, False))
                self.check_transfer(client, server, MIB)

    def test_under_a_reader_it_stays(self):
        self.attach("ip_proto=6", "counter", flow="all")
        for number, ipv6 in enumerate((False, True), start=1):
            with self.subTest(ipv6=ipv6):
                client, server = self.open(ipv6)
                self.assertEqual((self.is_multipath(client), self.is_multipath(server)), (True, True))
                self.assertEqual(self.flowos.connections()[-1]["state"], "multipath")
                self.check_transfer(client, server, MIB, edits=[])
                self.assertEqual(self.flowos.counters()["multipath"], number)


class Signed(DaemonTest):
    def share_key(self, opened, peer):
        """Has a socket sign what it says to `peer`, and take from there only what is signed (struct tcp_md5sig)."""
        family, gap = (socket.AF_INET6, bytes(4)) if ":" in peer else (socket.AF_INET, b"")
        address = struct.pack("=HH", family, 0) + gap + socket.inet_pton(family, peer)
        key = b"no secret"
        opened.setsockopt(
            socket.IPPROTO_TCP, TCP_MD5SIG, struct.pack("=128sBBHi80s", address, 0, 0, len(key), 0, key))

    def test_not_edited_and_called_signed(self):
        self.edit()
        for number, ipv6 in enumerate((False, True), start=1):
            with self.subTest(ipv6=ipv6), self.net.server.listen(5000, ipv6=ipv6) as listener:
                self.share_key(listener, self.net.client.ipv6 if ipv6 else self.net.client.ipv4)
                client = self.net.client.connect(
                    self.address(ipv6), 5000, prepare=lambda opened: self.share_key(opened, self.address(ipv6)))
                server, _ = listener.accept()
                server.settimeout(10)
                self.assertEqual(self.flowos.connections()[-1]["state"], "signed")
                self.check_transfer(client, server, MIB, edits=[])
                self.assertEqual(self.flowos.counters()["signed"], number)
        self.assertEqual(self.flowos.module("all", "replace")["counters"]["edits"], 0)
