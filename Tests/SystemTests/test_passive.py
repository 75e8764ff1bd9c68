"""Traffic that nothing in it is to be changed."""

import random
import threading
import time

import kit
from daemon import DaemonTest
from transfer import MIB, End, cats, open_pair


def setUpModule():
    kit.require_kernel()


class Passive(DaemonTest):
    def converse(self, seconds):
        """Binary messages of random sizes back and forth; returns the longest time that an answer took."""
        source = random.Random(1)
        client, server = open_pair(self.net, port=22)

        def echo():
            while message := server.recv(65536):
                server.sendall(bytes(octet ^ 0xFF for octet in message))

        worker = threading.Thread(target=echo, daemon=True)
        worker.start()
        slowest = 0
        with client, server:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                message = source.randbytes(source.choice((1, 1, 36, 100, source.randrange(1, 5000))))
                sent = time.monotonic()
                client.sendall(message)
                answer = kit.receive_exactly(client, len(message))
                slowest = max(slowest, time.monotonic() - sent)
                self.assertEqual(answer, bytes(octet ^ 0xFF for octet in message))
            client.shutdown(1)
            worker.join(10)
        return slowest

    def test_interactive_through_an_editor_that_finds_nothing(self):
        self.attach("ip_proto=6,tcp_dst=22", "replace", "from=cat that is not there", "to=dog", flow="up")
        self.attach("ip_proto=6,tcp_src=22", "replace", "from=cat that is not there", "to=dog", flow="down")
        self.assertLess(self.converse(3), 2)

    def test_interactive_while_the_end_of_each_message_could_be_a_match(self):
        # What could be the beginning of a match is held, but not for long.
        self.attach("ip_proto=6,tcp_dst=22", "replace", "from=xy", "to=dog", flow="up")
        client, server = open_pair(self.net, port=22)
        with client, server:
            for message in (b"x", b"an x", b"y?", b"xx"):
                sent = time.monotonic()
                client.sendall(message)
                self.assertEqual(kit.receive_exactly(server, len(message)), message)
                self.assertLess(time.monotonic() - sent, 2)

    def test_interactive_through_a_web_editor(self):
        self.attach("ip_proto=6,tcp_src=22", "adblock", flow="down")
        self.assertLess(self.converse(2), 2)

    def test_a_large_upload_through_an_editor_that_finds_nothing(self):
        self.attach("ip_proto=6", "replace", "from=cats and dogs that are not there", "to=")
        content = cats(64 * MIB, seed=1)
        client, server = open_pair(self.net)
        with client, server:
            receiver = End(server, b"")
            End(client, content).finish()
            self.assert_same(receiver.finish(), content)
        self.assertEqual(self.flowos.counters()["orphaned"], 0)
        self.assertEqual(self.flowos.module("web", "replace")["counters"]["edits"], 0)

    def test_counter_counts_octets(self):
        self.attach("ip_proto=6,tcp_dst=5000", "counter", flow="up")
        self.attach("ip_proto=6,tcp_src=5000", "counter", flow="down")
        upload, download = cats(3 * MIB + 1, seed=1), cats(MIB + 7, seed=2)
        for number, ipv6 in enumerate((False, True), start=1):
            with self.subTest(ipv6=ipv6), self.net.losing(0.01, "both", where="before"), \
                    self.net.losing(0.01, "both", where="after"):
                client, server = open_pair(self.net, ipv6=ipv6)
                with client, server:
                    ends = End(client, upload), End(server, download)
                    down, up = [end.finish() for end in ends]
                self.assert_same(up, upload)
                self.assert_same(down, download)
                # Retransmissions count once.
                for flow, content in (("up", upload), ("down", download)):
                    module = self.flowos.module(flow, "counter")
                    self.assertEqual(module["own"]["octets"], number * len(content))
                    self.assertEqual(module["counters"]["octets_out"], number * len(content))
        connections = self.flowos.ask("stats")["flows"]
        self.assertEqual([flow["counters"]["connections"] for flow in connections], [2, 2])
