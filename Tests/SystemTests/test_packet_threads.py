"""Modules that get packets or datagrams, on threads: what they let go on is sent anew, between real kernels."""

import socket
import time

import kit
import test_examples
import test_nat
from daemon import Daemon, DaemonTest
from transfer import MIB, End, cats, exchange, open_pair

SO_RCVBUFFORCE = 33


def setUpModule():
    kit.require_kernel()


class PacketThreads(test_nat.NATTest):
    """All that is forwarded meets modules on threads; careful rules drop what connection tracking calls INVALID."""

    queues = "0:1"

    def setUp(self):
        self.net = self.enterContext(kit.Topology())
        self.net.chain("up", "--queues", self.queues)
        self.net.steer()
        for command in ("iptables", "ip6tables"):
            self.net.router.run(command, "-w", "-A", "FORWARD", "-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP")
        self.flowos = self.enterContext(Daemon(self.net, queues=self.queues))
        self.addCleanup(self._check_daemon)

    def check_all(self, *, seen=None):
        """TCP with super-packets, UDP with large datagrams, and ping, in both families."""
        for ipv6 in (False, True):
            client = seen[ipv6] if seen else self.net.client.ipv6 if ipv6 else self.net.client.ipv4
            with self.subTest(ipv6=ipv6, of="tcp"):
                self.try_tcp(ipv6, client)
            with self.subTest(ipv6=ipv6, of="udp"):
                self.try_udp(ipv6, client)
            with self.subTest(ipv6=ipv6, of="ping"):
                self.try_ping(ipv6)
        counters = self.flowos.counters()
        self.assertEqual(counters["thread_overflows"] + counters["module_failures"], 0)

    def test_checksums_are_verified_on_a_thread(self):
        self.flow("any", ("ipchecksum", "--run", "thread"))
        self.check_all()
        own = self.own("ipchecksum")
        self.assertEqual(own["bad"], 0)
        self.assertGreater(own["good"], 100)
        # Nothing passes beside it, but what is of the link.
        counters = self.flowos.counters()
        self.assertEqual(counters["accepted"], counters["thread_unseen"])

    def test_behind_masquerade(self):
        self.net.masquerade()
        self.flow("any", ("ipchecksum", "--run", "thread"))
        self.check_all(seen=("10.77.2.1", "fd00:77:2::1"))

    def test_streams_are_edited_behind_a_thread_under_masquerade(self):
        self.net.masquerade()
        self.flow("any", ("ipchecksum", "--run", "thread"), ("replace", "from=cat", "to=caterpillar"))
        upload, download = cats(2 * MIB, seed=1), cats(2 * MIB, seed=2)
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                client, server = open_pair(self.net, ipv6=ipv6)
                with client, server:
                    up, down = exchange(client, server, upload, download)
                self.assertEqual(up, upload.replace(b"cat", b"caterpillar"))
                self.assertEqual(down, download.replace(b"cat", b"caterpillar"))

    def test_attach_and_detach_while_packets_cross(self):
        self.flowos.ctl("flow", "add", "out", "any")
        content = cats(16 * MIB, seed=3)
        client, server = open_pair(self.net)
        with client, server:
            end = End(client, content)
            receiver = End(server, b"")
            for _ in range(10):
                name = self.flowos.ctl("pm", "attach", "out", "ipchecksum", "--run", "thread").stdout.strip()
                self.flowos.ctl("pm", "set", "out", name, "mend=true")
                self.flowos.ctl("pm", "detach", "out", name)
            received = receiver.finish(60)
            end.finish(60)
        self.assertEqual(received, content)
        self.assertEqual(self.flowos.counters()["module_failures"], 0)


class OnThreads:
    """The tests of `nat`, with all modules on threads."""

    def flow(self, match, *modules):
        super().flow(match, *((*words, "--run", "thread") for words in modules))


class SourceNATOnThreads(OnThreads, test_nat.SourceNAT):
    pass


class PrefixTranslationOnThreads(OnThreads, test_nat.PrefixTranslation):
    pass


class EditedAndTranslatedOnThreads(OnThreads, test_nat.EditedAndTranslated):
    pass


class ArrangementsOnThreads(OnThreads, test_nat.Arrangements):
    pass


class DatagramThreads(DaemonTest):
    steered = ("-p", "udp")

    def test_read_and_edited(self):
        self.attach("ip_proto=17", "counter", "--run", "thread", flow="all")
        self.attach("ip_proto=17", "replace", "from=cat", "to=caterpillar", "--run", "thread", flow="all")
        resting = self.flowos.threads
        texts = [b"a cat", b"no match", b"catcat", b"ca", b"t", b"cat and " * 500]
        for ipv6 in (False, True):
            client, server = self.datagrams(ipv6)
            for text in texts:
                with self.subTest(ipv6=ipv6, text=text[:20]):
                    client.send(text)
                    received, peer = server.recvfrom(65_535)
                    self.assertEqual(received, text.replace(b"cat", b"caterpillar"))
                    server.sendto(text, peer)
                    self.assertEqual(client.recv(65_535), text.replace(b"cat", b"caterpillar"))
        self.assertEqual(self.flowos.threads - resting, 2 * 2 * 2)
        self.assertEqual(self.flowos.counters()["accepted"], 0)
        octets = sum(map(len, texts)) * 4
        self.assertEqual(self.flowos.module("all", "counter")["counters"]["octets_in"], octets)

    def test_order_is_kept(self):
        self.attach("ip_proto=17", "counter", "--run", "thread", flow="all")
        client, server = self.datagrams()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * MIB)
        for number in range(200):
            client.send(number.to_bytes(4, "big"))
        received = [int.from_bytes(server.recv(100), "big") for _ in range(200)]
        self.assertEqual(received, list(range(200)))


class EndpointThreads(DaemonTest):
    """The router itself is an end: what waited for a thread finds its sockets, and leaves from them."""

    steered = ("-p", "sctp")

    def setUp(self):
        super().setUp()
        for command in ("iptables", "ip6tables"):
            for chain in ("INPUT", "OUTPUT"):
                self.net.router.run(command, "-w", "-t", "mangle", "-A", chain, "-j", "FLOWOS")
        self.attach("any", "ipchecksum", "--run", "thread", flow="all")

    def test_tcp(self):
        upload, download = cats(2 * MIB, seed=8), cats(2 * MIB, seed=9)
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                client, server = open_pair(self.net, ipv6=ipv6, server=self.net.router)
                with client, server:
                    at_server, at_client = exchange(client, server, upload, download)
                self.assert_same(at_client, download)
                self.assert_same(at_server, upload)

    def test_udp(self):
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                family = socket.AF_INET6 if ipv6 else socket.AF_INET
                address = self.net.router.ipv6 if ipv6 else self.net.router.ipv4
                with self.net.router.socket(family, socket.SOCK_DGRAM) as server, \
                        self.net.client.socket(family, socket.SOCK_DGRAM) as client:
                    server.bind((address, 5000))
                    for end in (client, server):
                        end.settimeout(10)
                    for text in (b"short", b"long" * 1_000):
                        client.sendto(text, (address, 5000))
                        received, peer = server.recvfrom(65_535)
                        self.assertEqual(received, text)
                        server.sendto(text, peer)
                        self.assertEqual(client.recv(65_535), text)


class SlowThread(DaemonTest):
    """A module that takes 200 ms over each packet of one flow."""

    program = test_examples.PROGRAM
    steered = ("-p", "udp")
    # One worker for both flows.
    queues = "0"

    def test_another_flow_is_not_slowed(self):
        self.attach("udp,udp_dst=53", "ponder", "time=200", "--run", "thread", flow="slow")
        self.attach("udp,udp_dst=54", "ponder", "time=0", flow="quick")
        slow, slow_server = self.datagrams(port=53)
        quick, quick_server = self.datagrams(port=54)
        for number in range(5):
            slow.send(bytes([number]))
        began = time.monotonic()
        for number in range(50):
            quick.send(bytes([number]))
            self.assertEqual(quick_server.recv(10), bytes([number]))
        self.assertLess(time.monotonic() - began, 0.8)
        self.assertEqual([slow_server.recv(10)[0] for _ in range(5)], list(range(5)))
        self.assertGreater(time.monotonic() - began, 0.8)

    def test_what_is_too_much_is_dropped_and_counted(self):
        self.attach("udp,udp_dst=53", "ponder", "time=200", "--run", "thread", flow="slow")
        slow, slow_server = self.datagrams(port=53)
        # What waits comes at once.
        slow_server.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 * MIB)
        for number in range(2_000):
            slow.send(number.to_bytes(4, "big"))
        kit.wait_until(lambda: self.flowos.counters()["packets"] == 2_000, "all packets come")
        lost = self.flowos.counters()["thread_overflows"]
        self.assertGreaterEqual(lost, 2_000 - 1_024 - 50)
        # What waits goes on at once when the module goes.
        self.flowos.ctl("pm", "detach", "slow", "ponder")
        received = [int.from_bytes(slow_server.recv(10), "big") for _ in range(2_000 - lost)]
        self.assertEqual(received, sorted(received))
