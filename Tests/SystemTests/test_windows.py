"""Receivers that take little at a time, or nothing for some seconds."""

import socket
import time

import kit
from daemon import DaemonTest
from transfer import MIB, End, cats, edited, open_pair


def setUpModule():
    kit.require_kernel()


def take(octets):
    """What bounds the receive buffer of a socket; the kernel doubles it, and has a least."""
    return lambda opened: opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, octets)


class Windows(DaemonTest):
    def test_the_smallest_windows_on_both_sides(self):
        self.edit()
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                client, server = open_pair(self.net, ipv6=ipv6, prepare=take(1))
                self.check_transfer(client, server, 100_000)

    def test_a_window_that_stays_shut(self):
        """Servers that read nothing for 4 s, all at the same time."""
        # For unanswered segments 3 s are the end then, and no quarter of an hour; for a closed window nothing is.
        self.net.client.write_sysctl("net.ipv4.tcp_retries2", 3)
        cases = (
            (5000, "octets are inserted", cats(MIB, seed=1), (b"cat", b"caterpillar")),
            (5002, "octets are removed", cats(MIB, seed=2), (b"cat", b"c")),
            (5004, "whole segments are removed", b"left" * 20_000 + b"cat" * 300_000 + b"right" * 1_000, (b"cat", b"")),
        )
        for port, _, _, edit in cases:
            self.edit([edit], match=f"ip_proto=6,tcp_dst={port}/0xfffe", flow=f"to-{port}")
        running = []
        for port, what, content, edit in cases:
            for ipv6 in (False, True):
                client, server = open_pair(self.net, ipv6=ipv6, port=port + ipv6, prepare=take(20_000))
                self.enterContext(client)
                self.enterContext(server)
                running.append((f"{what}, IPv6 {ipv6}", End(client, content), server, edited(content, [edit])))
        time.sleep(4)
        for what, sender, server, wanted in running:
            with self.subTest(what):
                self.assertEqual(server.recv(100, socket.MSG_PEEK), wanted[:100])
        running = [(what, sender, End(server, b""), wanted) for what, sender, server, wanted in running]
        for what, sender, receiver, wanted in running:
            with self.subTest(what):
                sender.finish()
                self.assert_same(receiver.finish(), wanted)
        for name in ("TCPToZeroWindowAdv", "TCPFromZeroWindowAdv"):
            self.assertGreaterEqual(self.net.server.counter(name), len(running))
        self.assertEqual(self.flowos.counters()["aborted"], 0)
