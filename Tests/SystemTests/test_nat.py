"""Translation of addresses by the module `nat`, and the modules that go with it, between real kernels."""

import contextlib
import errno
import os
import select
import socket
import struct
import threading
import unittest

import kit
import link
from daemon import Daemon

ICMP_ECHO, ICMP_ECHO_REPLY = 8, 0
ICMPV6_ECHO, ICMPV6_ECHO_REPLY = 128, 129
IP_RECVERR, IPV6_RECVERR = 11, 25
UDP_SEGMENT = 103
MIB = 1 << 20


def setUpModule():
    kit.require_kernel()


def checksum(octets):
    words = struct.unpack(f"!{len(octets) // 2}H", octets)
    total = sum(words)
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


class NATTest(unittest.TestCase):
    """The client is hidden. What it sends is translated in FORWARD, behind routing; what comes for it in PREROUTING."""

    # The two directions of a translated connection come to different workers.
    queues = "0:3"

    def setUp(self):
        self.net = self.enterContext(kit.Topology())
        self.net.chain("up", "--queues", self.queues, "--hook", "FORWARD", "--match", "-i client0",
                       "--hook", "PREROUTING", "--match", "-i server0")
        self.flowos = self.enterContext(Daemon(self.net, queues=self.queues))
        self.addCleanup(self._check_daemon)

    def _check_daemon(self):
        alive = self.flowos.process.is_running
        code = self.flowos.process.stop()
        if not alive or code != 0:
            self.fail(f"flowos did not end well: exit code {code}\n{self.flowos.process.stderr}")

    def flow(self, match, *modules):
        """A flow named `out`; each module is the words behind `pm attach out`."""
        self.flowos.ctl("flow", "add", "out", match)
        for words in modules:
            self.flowos.ctl("pm", "attach", "out", *words)

    def own(self, name):
        return self.flowos.module("out", name)["own"]

    # What is tried, in either family. `seen` is the client's address as the server sees it.

    def try_tcp(self, ipv6, seen):
        address = self.net.server.ipv6 if ipv6 else self.net.server.ipv4
        content = os.urandom(MIB)
        with self.net.server.listen(80, ipv6=ipv6) as listener:
            # Several at once, so that hashes of both directions differ.
            for _ in range(3):
                with self.net.client.connect(address, 80) as client:
                    server, peer = listener.accept()
                    with server:
                        server.settimeout(10)
                        self.assertEqual(peer[0], seen)
                        for source, destination in ((client, server), (server, client)):
                            sender = threading.Thread(target=source.sendall, args=(content,))
                            sender.start()
                            received = kit.receive_exactly(destination, len(content))
                            sender.join()
                            self.assertTrue(received == content, "the content differs")
                        client.close()
                        self.assertEqual(server.recv(1), b"")

    def try_udp(self, ipv6, seen):
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        address = self.net.server.ipv6 if ipv6 else self.net.server.ipv4
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(self.net.server.socket(family, socket.SOCK_DGRAM))
            server.bind(("", 53))
            clients = [stack.enter_context(self.net.client.socket(family, socket.SOCK_DGRAM)) for _ in range(4)]
            peers = []
            for number, client in enumerate(clients):
                client.connect((address, 53))
                # The last is cut into fragments on its way.
                for text in (b"question %d" % number, b"x" * 4_000):
                    client.send(text)
                    got, peer = server.recvfrom(65_535)
                    self.assertEqual((got, peer[0]), (text, seen))
                    server.sendto(b"answer to " + got, peer)
                    self.assertEqual(client.recv(65_535), b"answer to " + text)
                peers.append(peer)
            self.assertEqual(len(set(peers)), len(clients))
            # Also to what was said last, out of turn.
            for number, peer in enumerate(peers):
                server.sendto(b"%d" % number, peer)
            for number, client in enumerate(clients):
                self.assertEqual(client.recv(100), b"%d" % number)

    def try_ping(self, ipv6):
        kind, answer = (ICMPV6_ECHO, ICMPV6_ECHO_REPLY) if ipv6 else (ICMP_ECHO, ICMP_ECHO_REPLY)
        raw = self.net.client.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_RAW,
                                     socket.IPPROTO_ICMPV6 if ipv6 else socket.IPPROTO_ICMP)
        with raw:
            address = self.net.server.ipv6 if ipv6 else self.net.server.ipv4
            for identifier in (7, 30_000):
                body = struct.pack("!HH", identifier, 1) + b"abcdefgh"
                # Of ICMPv6 the kernel sets it.
                head = struct.pack("!BBH", kind, 0, 0)
                request = struct.pack("!BBH", kind, 0, 0 if ipv6 else checksum(head + body)) + body
                raw.sendto(request, (address, 0))

                def is_reply():
                    if not select.select([raw], [], [], 0.1)[0]:
                        return False
                    packet, source = raw.recvfrom(2_000)
                    message = packet if ipv6 else packet[20:]
                    return source[0] == address and message[0] == answer and message[4:] == body

                kit.wait_until(is_reply, f"an echo reply for {identifier}")

    def error(self, ipv6, port, hops=64):
        """Sends to a port of the server, and returns the error that comes back and who it is from."""
        level, option = (socket.IPPROTO_IPV6, IPV6_RECVERR) if ipv6 else (socket.IPPROTO_IP, IP_RECVERR)
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        address = self.net.server.ipv6 if ipv6 else self.net.server.ipv4
        with self.net.client.socket(family, socket.SOCK_DGRAM) as client:
            client.setsockopt(level, option, 1)
            client.setsockopt(level, socket.IPV6_UNICAST_HOPS if ipv6 else socket.IP_TTL, hops)
            client.connect((address, port))
            client.send(b"anybody?")

            def queued():
                with contextlib.suppress(BlockingIOError, ConnectionRefusedError, OSError):
                    return client.recvmsg(100, 1_000, socket.MSG_ERRQUEUE)
                return None

            message = kit.wait_until(queued, "an ICMP error")
        self.assertEqual(message[0], b"anybody?")
        data = message[1][0][2]
        number = struct.unpack_from("=I", data)[0]
        offender = data[16:]
        source = socket.inet_ntop(family, offender[8:24] if ipv6 else offender[4:8])
        return number, source


class SourceNAT(NATTest):
    """Sources of IPv4 become the router's outer address."""

    outer = "10.77.2.1"

    def setUp(self):
        super().setUp()
        self.flow("ip,ipv4_src=10.77.1.0/24", ("nat", f"source={self.outer}"))

    def test_tcp(self):
        self.try_tcp(False, self.outer)
        self.assertEqual(self.own("nat")["mappings"], 3)

    def test_udp(self):
        self.try_udp(False, self.outer)

    def test_super_packets_of_udp(self):
        with self.net.server.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, \
                self.net.client.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            server.bind(("", 53))
            client.connect((self.net.server.ipv4, 53))
            try:
                client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1_000)
            except OSError as error:
                if error.errno == errno.ENOPROTOOPT:
                    self.skipTest("the kernel has no UDP_SEGMENT")
                raise
            content = os.urandom(9_500)
            client.send(content)
            kit.wait_until(lambda: self.flowos.counters()["super_datagrams"] == 1, "a super-packet is counted")
            # As the page on operations tells to.
            self.net.client.inside(lambda: link.switch_offloads_off("eth0"))
            client.send(content)
            received = [server.recvfrom(65_535) for _ in range(10)]
            self.assertEqual(b"".join(one for one, _ in received), content)
            self.assertEqual({peer[0] for _, peer in received}, {self.outer})

    def test_ping(self):
        self.try_ping(False)

    def test_errors_find_their_source(self):
        self.assertEqual(self.error(False, 9), (errno.ECONNREFUSED, self.net.server.ipv4))
        self.assertGreater(self.own("nat")["errors"], 0)
        # The router itself refuses what it must not forward any further.
        number, source = self.error(False, 9, hops=1)
        self.assertEqual(number, errno.EHOSTUNREACH)

    def test_ports_run_out(self):
        self.flowos.ctl("pm", "set", "out", "nat", "ports=20000-20001")
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(self.net.server.socket(socket.AF_INET, socket.SOCK_DGRAM))
            server.bind(("", 53))
            for number in range(4):
                client = stack.enter_context(self.net.client.socket(socket.AF_INET, socket.SOCK_DGRAM))
                client.sendto(b"%d" % number, (self.net.server.ipv4, 53))
            got = {server.recvfrom(100) for _ in range(2)}
            self.assertEqual({peer for _, peer in got}, {(self.outer, 20_000), (self.outer, 20_001)})
            kit.wait_until(lambda: self.own("nat")["exhausted"] == 2, "two packets without a port")
            server.settimeout(0.3)
            with self.assertRaises(TimeoutError):
                server.recvfrom(100)


class Arrangements(NATTest):
    """Two modules as in the paper's figure 4: one alone, both in sequence, both side by side."""

    nat = ("nat", "source=10.77.2.1")

    def test_checksum_then_nat(self):
        self.flow("ip,ipv4_src=10.77.1.0/24", ("ipchecksum",), self.nat)
        self.check()

    def test_checksum_beside_nat(self):
        self.flow("ip,ipv4_src=10.77.1.0/24", ("ipchecksum",), (*self.nat, "--stage", "1"))
        self.check()

    def check(self):
        self.try_tcp(False, "10.77.2.1")
        self.try_udp(False, "10.77.2.1")
        own = self.own("ipchecksum")
        self.assertGreater(own["good"], 0)
        self.assertEqual(own["bad"], 0)


class EditedAndTranslated(NATTest):
    """A stream is edited and its connection translated by one flow. That wants one worker, for the two directions have no
    address in common that the kernel could hash."""

    queues = "0"

    def test_either_order(self):
        for modules in ((("replace", "from=cat", "to=caterpillar"), ("nat", "source=10.77.2.1")),
                        (("nat", "source=10.77.2.1"), ("replace", "from=cat", "to=caterpillar"))):
            with self.subTest(modules):
                self.flow("ip,ipv4_src=10.77.1.0/24", *modules)
                with self.net.server.listen(80) as listener, self.net.client.connect(self.net.server.ipv4, 80) as client:
                    server, peer = listener.accept()
                    with server:
                        server.settimeout(10)
                        self.assertEqual(peer[0], "10.77.2.1")
                        content = b"a cat and a dog, " * 20_000
                        wanted = content.replace(b"cat", b"caterpillar")
                        sender = threading.Thread(target=client.sendall, args=(content,))
                        sender.start()
                        self.assertTrue(kit.receive_exactly(server, len(wanted)) == wanted)
                        sender.join()
                        server.sendall(b"cat")
                        self.assertEqual(client.recv(10), b"cat")
                self.flowos.ctl("flow", "del", "out")


class DestinationNAT(NATTest):
    """The client serves behind an address and a port of the router's."""

    def test_server_behind_the_router(self):
        self.flow("tcp,ipv4_dst=10.77.2.1,tcp_dst=8080", ("nat", "destination=10.77.1.2:80"))
        with self.net.client.listen(80) as listener, self.net.server.connect("10.77.2.1", 8080) as outside:
            inside, peer = listener.accept()
            with inside:
                inside.settimeout(10)
                self.assertEqual(peer, ("10.77.2.2", outside.getsockname()[1]))
                outside.sendall(b"question")
                self.assertEqual(kit.receive_exactly(inside, 8), b"question")
                inside.sendall(b"answer")
                self.assertEqual(kit.receive_exactly(outside, 6), b"answer")
        with self.assertRaises(ConnectionRefusedError):
            self.net.server.connect("10.77.2.1", 8080)

    def test_unreachable_port_is_told_of(self):
        self.flow("udp,ipv4_dst=10.77.2.1,udp_dst=53", ("nat", "destination=10.77.1.2:9"))
        with self.net.server.socket(socket.AF_INET, socket.SOCK_DGRAM) as outside:
            outside.connect(("10.77.2.1", 53))
            outside.send(b"anybody?")
            with self.assertRaises(ConnectionRefusedError):
                outside.recv(100)


class PrefixTranslation(NATTest):
    """The client's prefix of IPv6 is another one outside."""

    def setUp(self):
        super().setUp()
        self.flow("ipv6,ipv6_src=fd00:77:1::/48", ("nat", "prefix=fd00:77:1::/48", "to=fd00:99:5::/48"))
        # The subnet takes up what the prefixes differ by: 0x77 + 1 - 0x99 - 5 is ffd9 in ones' complement.
        self.seen = "fd00:99:5:ffd9::2"

    def test_tcp(self):
        self.try_tcp(True, self.seen)

    def test_udp(self):
        self.try_udp(True, self.seen)

    def test_ping(self):
        self.try_ping(True)

    def test_errors_find_their_source(self):
        self.assertEqual(self.error(True, 9), (errno.ECONNREFUSED, self.net.server.ipv6))


class Firewall(NATTest):
    def test_sources_are_told_or_not(self):
        self.flow("ip,ipv4_src=10.77.1.0/24", ("firewall", "action=reject"))
        with self.net.server.listen(80), self.assertRaises(ConnectionRefusedError):
            self.net.client.connect(self.net.server.ipv4, 80)
        self.assertEqual(self.error(False, 53)[0], errno.EHOSTUNREACH)
        self.flowos.ctl("pm", "set", "out", "firewall", "action=drop")
        with self.net.server.listen(80), self.assertRaises(TimeoutError):
            self.net.client.connect(self.net.server.ipv4, 80, timeout=0.5)


if __name__ == "__main__":
    unittest.main()
