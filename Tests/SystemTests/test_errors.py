"""Mistakes of users, of programs on the socket, and of packets."""

import json
import random
import socket
import struct
import time

import kit
from daemon import FLOWOS, DaemonTest
from transfer import End, open_pair


def setUpModule():
    kit.require_kernel()


class Words(DaemonTest):
    """What flowctl says, what it exits with, and that nothing has changed."""

    def test_mistakes_of_users(self):
        self.attach("ip_proto=6,tcp_src=80", "replace", "from=cat", "to=dog")
        before = self.flowos.ctl("dump").stdout
        self.assertIn("tcp_src=80", before)
        for words, code, message in (
            (("flow", "add", "x", "tcp,tcp_port=80"), 1, "tcp_port"),
            (("flow", "add", "x", "tcp_dst=80"), 1, "ip_proto"),
            (("flow", "add", "x", "tcp,eth_dst=02:00:00:00:00:01"), 1, "eth_dst"),
            (("flow", "add", "x", "tcp,tcp_dst=80000"), 1, "80000"),
            (("flow", "add", "x", "tcp", "--priority", "65536"), 1, "65536"),
            (("flow", "add", "x", "tcp", "--on-fail", "explode"), 2, "explode"),
            (("flow", "add", "two words", "tcp"), 1, "two words"),
            (("flow", "add", "web", "udp"), 4, "web"),
            (("flow", "show", "wbe"), 3, "web"),
            (("flow", "del", "nothing"), 3, "nothing"),
            (("flow", "replace", "nothing", "tcp"), 3, "nothing"),
            (("pm", "attach", "nothing", "counter"), 3, "nothing"),
            (("pm", "attach", "web", "adblok"), 3, "adblock"),
            (("pm", "attach", "web", "replace", "from=a", "to=b", "--name", "replace"), 4, "replace"),
            (("pm", "attach", "web", "replace", "from=a", "too=b"), 1, "too"),
            (("pm", "attach", "web", "replace", "from=a"), 1, "to"),
            (("pm", "attach", "web", "replace", "from=", "to=b"), 1, "from"),
            (("pm", "attach", "web", "replace", r"from=\xzz", "to=b"), 1, "from"),
            (("pm", "attach", "web", "counter", "--run", "process"), 1, "thread"),
            (("pm", "attach", "web", "replace", "from=a", "to=b", "--stage", "1"), 1, "editor"),
            (("pm", "attach", "web", "counter", "--stage", "3"), 1, "1 to 2"),
            (("pm", "attach", "web", "counter", "--insert"), 2, "--stage"),
            (("pm", "move", "web", "replace", "--stage", "3"), 1, "1 to 2"),
            (("pm", "move", "web", "replica", "--stage", "1"), 3, "replace"),
            (("conn", "show", "1000"), 3, "1000"),
            (("conn", "kill", "1000"), 3, "1000"),
            (("monitor", "wbe"), 3, "web"),
            (("pm", "attach", "web", "adblock", "list=/nowhere/at/all"), 1, "/nowhere/at/all"),
            (("pm", "set", "web", "replace", "fro=x"), 1, "fro"),
            (("pm", "detach", "web", "counter"), 3, "counter"),
            (("flow",), 2, "missing"),
            (("sideways",), 2, "sideways"),
        ):
            with self.subTest(words):
                result = self.flowos.ctl(*words, check=False)
                self.assertEqual(result.returncode, code, result)
                self.assertIn(message, result.stderr)
                self.assertEqual(result.stdout, "")
                result = self.flowos.ctl("-j", *words, check=False)
                self.assertEqual(result.returncode, code, result)
                self.assertTrue(json.loads(result.stderr)["error"]["what"])
                self.assertEqual(self.flowos.ctl("dump").stdout, before)

    def test_a_bad_line_undoes_the_whole_file(self):
        before = self.flowos.ctl("dump").stdout
        text = "flow add one tcp,tcp_dst=1\n\n# two\nflow add two tcp,tcp_dst=2\npm attach two replace from=a\n"
        for words in (("apply", "-"), ("apply", "--check", "-")):
            result = self.flowos.ctl(*words, input=text, check=False)
            self.assertEqual(result.returncode, 1, result)
            self.assertIn(":5", result.stderr)
            self.assertEqual(self.flowos.ctl("dump").stdout, before)
        self.flowos.ctl("apply", "-", input=text.replace("from=a", "'from=\\x00' to="))
        dumped = self.flowos.ctl("dump").stdout
        for name in ("one", "two"):
            self.flowos.ctl("flow", "del", name)
        self.flowos.ctl("apply", "-", input=dumped)
        self.assertEqual(self.flowos.ctl("dump").stdout, dumped)

    def test_no_daemon(self):
        self.flowos.kill()
        result = self.flowos.ctl("flow", "list", check=False)
        self.assertEqual(result.returncode, 5, result)
        self.assertIn(str(self.flowos.socket), result.stderr)
        self.flowos.start()
        self.flowos.ctl("flow", "list")

    def test_a_second_daemon_is_refused_and_the_first_lives(self):
        self.attach("tcp", "counter")
        result = self.net.router.run(
            FLOWOS, "run", "--socket", self.flowos.socket, "--queues", "7", check=False)
        self.assertEqual(result.returncode, 4, result)
        result = self.net.router.run(
            FLOWOS, "run", "--socket", f"{self.flowos.socket}.2", "--queues", "1", check=False)
        self.assertEqual(result.returncode, 1, result)
        self.assertIn("web", self.flowos.ctl("flow", "list").stdout)

    def test_ping_is_quick(self):
        self.flowos.ctl("ping")
        began = time.monotonic()
        self.flowos.ctl("ping")
        self.assertLess(time.monotonic() - began, 0.5)


class Socket(DaemonTest):
    """What programs may write on the socket."""

    def talk(self, octets, *, replies=1):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.flowos.socket))
            connection.sendall(octets)
            with connection.makefile("rb") as lines:
                return [json.loads(lines.readline()) for _ in range(replies)]

    def test_malformed_requests(self):
        before = self.flowos.ctl("dump").stdout
        for octets, code in (
            (b"not json\n", -32700), (b"\xff\xfe\x00\n", -32700), (b'{"jsonrpc":"2.0","id":1,"method":\n', -32700),
            (b"[]\n", -32600), (b"1\n", -32600), (b'{"id":1,"method":"ping"}\n', -32600),
            (b'{"jsonrpc":"2.0","id":1,"method":"pong"}\n', -32601),
            (b'{"jsonrpc":"2.0","id":1,"method":"flow.add","params":{"name":"x"}}\n', -32602),
            (b'{"jsonrpc":"2.0","id":1,"method":"flow.add","params":{"name":"x","match":"tcp","color":1}}\n', -32602),
            (b'{"jsonrpc":"2.0","id":1,"method":"flow.add","params":{"name":7,"match":"tcp"}}\n', -32602),
            (b'{"jsonrpc":"2.0","id":1,"method":"flow.show","params":{"name":"x"}}\n', -32002),
        ):
            with self.subTest(octets):
                reply, = self.talk(octets)
                self.assertEqual(reply["error"]["code"], code)
        self.assertEqual(self.flowos.ctl("dump").stdout, before)

    def test_an_oversized_request(self):
        reply, = self.talk(b'{"jsonrpc":"2.0","id":1,"method":"ping","pad":"' + b"x" * (1 << 20))
        self.assertEqual(reply["error"]["code"], -32006)
        self.flowos.ctl("ping")

    def test_requests_in_pieces_and_many_at_once(self):
        ping = b'{"jsonrpc":"2.0","id":%d,"method":"ping"}\n'
        replies = self.talk(b"".join(ping % number for number in range(100)), replies=100)
        self.assertEqual([reply["id"] for reply in replies], list(range(100)))

    def test_clients_that_say_nothing_do_not_stand_in_the_way(self):
        silent = [self.enterContext(socket.socket(socket.AF_UNIX)) for _ in range(20)]
        for connection in silent:
            connection.connect(str(self.flowos.socket))
            connection.sendall(b'{"jsonrpc"')
        self.flowos.ctl("ping")


class Packets(DaemonTest):
    """Packets that make no sense, from the client into the router."""

    steered = ()

    def send(self, *packets):
        with self.net.client.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as ipv4, \
                self.net.client.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW) as ipv6:
            for packet in packets:
                if packet[0] >> 4 == 6:
                    ipv6.sendto(packet, (self.net.server.ipv6, 0))
                else:
                    ipv4.sendto(packet, (self.net.server.ipv4, 0))

    def ipv4(self, payload, *, protocol=6, options=b"", fragment=0):
        # The kernel fills in length and checksum.
        return struct.pack(
            "!BBHHHBBH4s4s", 0x45 + len(options) // 4, 0, 0, 1, fragment, 64, protocol, 0,
            socket.inet_aton(self.net.client.ipv4), socket.inet_aton(self.net.server.ipv4)) + options + payload

    def ipv6(self, payload, *, header=6):
        addresses = [socket.inet_pton(socket.AF_INET6, end.ipv6) for end in (self.net.client, self.net.server)]
        return struct.pack("!IHBB", 6 << 28, len(payload), header, 64) + b"".join(addresses) + payload

    @staticmethod
    def tcp(*, offset=5, flags=2, options=b"", payload=b"", checksum=0):
        header = struct.pack("!HHIIBBHHH", 4444, 80, 1, 1, offset << 4, flags, 1000, checksum, 0)
        return header + options + payload

    def steered_packets(self):
        """Packets that came to the target, by the kernel's own count."""
        total = 0
        for command in ("iptables", "ip6tables"):
            listed = self.net.router.run(command, "-t", "mangle", "-L", "FORWARD", "-v", "-n", "-x").stdout
            total += sum(int(line.split()[0]) for line in listed.splitlines() if " FLOWOS " in line)
        return total

    def settle(self):
        """Waits until every packet that was steered has been counted and none waits for a verdict."""
        def is_settled():
            return self.flowos.counters()["packets"] == self.steered_packets() and self.flowos.queue()[0] == 0

        kit.wait_until(is_settled, "every packet has a verdict")
        self.assertEqual(self.flowos.queue()[1], 0)

    def test_malformed_packets(self):
        self.attach("any", "replace", "from=cat", "to=caterpillar")
        tcp = self.tcp()
        nonsense = [
            self.ipv4(tcp[:0]), self.ipv4(tcp[:4]), self.ipv4(tcp[:19]), self.ipv4(self.tcp(offset=4)),
            self.ipv4(self.tcp(offset=0)), self.ipv4(self.tcp(offset=15)),
            self.ipv6(tcp[:0]), self.ipv6(tcp[:19]), self.ipv6(self.tcp(offset=1)), self.ipv6(self.tcp(offset=9)),
            self.ipv4(b"\x00\x35\x00\x35\x00\x07\x00\x00", protocol=17),
            self.ipv4(b"\x00\x35\x00\x35\xff\xff\x00\x00", protocol=17), self.ipv4(b"\x08", protocol=1),
            self.ipv6(b"\x00" * 3, header=17),
        ]
        odd = [
            self.ipv4(tcp, options=b"\x01\x01\x01\x00"), self.ipv4(self.tcp(flags=0)), self.ipv4(self.tcp(flags=255)),
            self.ipv4(self.tcp(offset=6, options=b"\x02\x00\x00\x00")),
            self.ipv4(self.tcp(offset=6, options=b"\x05\xff\x00\x00")),
            self.ipv4(self.tcp(offset=6, options=b"\x08\x0a\x00\x00")),
            self.ipv6(bytes([6, 0, 1, 4, 0, 0, 0, 0]) + tcp, header=60),
            self.ipv6(bytes([60, 0, 1, 4, 0, 0, 0, 0]) * 20 + tcp, header=60),
            self.ipv4(b"", protocol=255), self.ipv6(b"", header=59), self.ipv6(bytes(8), header=132),
        ]
        self.send(*nonsense, *odd)
        self.settle()
        self.assertGreaterEqual(self.flowos.counters()["malformed"], 10)
        self.assert_still_edits()

    def test_mutations(self):
        self.attach("any", "replace", "from=cat", "to=caterpillar")
        source = random.Random(1)
        packets = []
        for number in range(3_000):
            segment = bytearray(self.tcp(
                offset=source.randrange(16), flags=source.randrange(256),
                options=source.randbytes(source.randrange(41)), payload=b"a cat" * source.randrange(200)))
            for _ in range(source.randrange(4)):
                segment[source.randrange(len(segment))] = source.randrange(256)
            segment = bytes(segment[:source.choice((len(segment), source.randrange(len(segment)))) or 1])
            packets.append(self.ipv6(segment) if number % 2 else self.ipv4(segment))
        self.send(*packets)
        self.settle()
        self.assert_still_edits()

    def assert_still_edits(self):
        client, server = open_pair(self.net)
        with client, server:
            receiver = End(server, b"")
            End(client, b"one cat, two cats").finish()
            self.assertEqual(receiver.finish(), b"one caterpillar, two caterpillars")
