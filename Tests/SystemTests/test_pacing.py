"""Modules that hold octets for the sake of time: none is lost, and the source is slowed down."""

import time

import kit
from daemon import DaemonTest
from transfer import MIB, End, cats, open_pair


def setUpModule():
    kit.require_kernel()


class Pacing(DaemonTest):
    def exchange(self, upload, download=b"", ipv6=False):
        """Sends both ways, and returns what arrived at the client and at the server, and the seconds that it took."""
        client, server = open_pair(self.net, ipv6=ipv6)
        began = time.monotonic()
        with client, server:
            ends = End(client, upload), End(server, download)
            down, up = [end.finish() for end in ends]
        return down, up, time.monotonic() - began

    def test_a_limited_rate(self):
        self.attach("ip_proto=6,tcp_dst=5000", "ratelimit", "rate=1048576", "burst=65536", flow="up")
        upload, download = cats(3 * MIB, seed=1), cats(8 * MIB, seed=2)
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                down, up, seconds = self.exchange(upload, download, ipv6)
                self.assert_same(up, upload)
                self.assert_same(down, download)
                # All but the burst takes its time; no more is asserted than that it is limited, and that it goes on.
                self.assertGreater(seconds, 2.8)
                self.assertLess(seconds, 30)
        counters = self.flowos.module("up", "ratelimit")["counters"]
        self.assertEqual((counters["forced_releases"], counters["octets_out"]), (0, 2 * len(upload)))

    def test_a_source_that_is_slowed_down_fills_no_memory(self):
        self.attach("ip_proto=6,tcp_dst=5000", "ratelimit", "rate=10000", flow="up")
        client, server = open_pair(self.net)
        with client, server:
            client.setblocking(False)
            sent, part = 0, cats(MIB, seed=3)
            deadline = time.monotonic() + 2
            while time.monotonic() < deadline:
                try:
                    sent += client.send(part)
                except BlockingIOError:
                    time.sleep(0.02)
            held = self.flowos.connections()[0]["to_server"]["octets_held"]
            # What a window of the server's admits, however much the client has to send.
            self.assertGreater(held, 0)
            self.assertLess(held, 8 * MIB)
            self.flowos.ctl("pm", "detach", "up", "ratelimit")
            received = 0
            client.setblocking(True)
            client.shutdown(1)
            while octets := server.recv(MIB):
                received += len(octets)
            self.assertEqual(received, sent)

    def test_one_that_ends_at_once(self):
        self.attach("ip_proto=6,tcp_dst=5000", "ratelimit", "rate=20000", "burst=1000", flow="up")
        upload = cats(21_000, seed=4)
        _, up, seconds = self.exchange(upload)
        self.assert_same(up, upload)
        self.assertGreater(seconds, 0.9)

    def test_a_delay(self):
        self.attach("ip_proto=6,tcp_dst=5000", "delay", "time=700", flow="up")
        for thread in (False, True):
            with self.subTest(thread=thread):
                if thread:
                    self.flowos.ctl("pm", "detach", "up", "delay")
                    self.flowos.ctl("pm", "attach", "up", "delay", "time=700", "--run", "thread")
                upload = cats(MIB, seed=5)
                _, up, seconds = self.exchange(upload, cats(MIB, seed=6))
                self.assert_same(up, upload)
                self.assertGreater(seconds, 0.7)
