"""A daemon that gets more packets than the kernel keeps for it."""

import re
import signal
import socket
import time

import kit
from daemon import DaemonTest
from transfer import MIB, End, cats, edited, open_pair


def setUpModule():
    kit.require_kernel()


class Overrun(DaemonTest):
    def setUp(self):
        super().setUp()
        self.net.steer("-p", "udp")
        self.edit()

    def flood(self, size):
        """Sends datagrams that nobody wants to the server, until the kernel drops packets in front of the daemon."""
        _, before = self.flowos.queue()
        with self.net.client.socket(kind=socket.SOCK_DGRAM) as source:
            for _ in range(100):
                for _ in range(1000):
                    source.sendto(bytes(size), (self.net.server.ipv4, 9))
                if self.flowos.queue()[1] > before:
                    return
        self.fail(f"no packet was dropped of 100,000 with {size} octets")

    def overrun(self, size):
        """Floods the daemon while it does nothing, in the middle of transfers, which go on to their end."""
        content = cats(8 * MIB, seed=1)
        pairs = [open_pair(self.net, ipv6=ipv6, port=port) for ipv6, port in ((False, 5000), (True, 5001))]
        receivers = [End(server, b"") for _, server in pairs]
        senders = [End(client, content) for client, _ in pairs]
        kit.wait_until(lambda: all(receiver.count > MIB for receiver in receivers), "the transfers have begun")
        self.flowos.process.signal(signal.SIGSTOP)
        try:
            self.flood(size)
            _, dropped = self.flowos.queue()
        finally:
            self.flowos.process.signal(signal.SIGCONT)
        for pair, sender, receiver in zip(pairs, senders, receivers):
            sender.finish()
            self.assert_same(receiver.finish(), edited(content))
            for opened in pair:
                opened.close()
        self.assertGreaterEqual(self.flowos.counters()["queue_dropped"], dropped)
        self.check_transfer(*open_pair(self.net), MIB)

    def test_the_receive_buffer_is_sized(self):
        # Netlink's family 12 is netfilter's; the kernel counts its overhead in, and shows twice of what was asked.
        sockets = self.net.router.run("ss", "--family=netlink", "--memory", "--numeric").stdout
        sized = [int(size) for size in re.findall(r" 12:.*\brb(\d+)", sockets) if int(size) >= 2 * 128 * MIB]
        queues = self.net.router.run("cat", "/proc/net/netfilter/nfnetlink_queue").stdout.splitlines()
        self.assertEqual(len(sized), len(queues), sockets)

    def test_a_full_queue(self):
        # Many that cost little.
        self.overrun(10)

    def test_a_full_receive_buffer(self):
        self.overrun(60_000)
        self.assertGreater(self.flowos.counters()["queue_overruns"], 0)

    def test_what_comes_while_a_full_receive_buffer_is_read(self):
        """It finds room as soon as there is any, and need not wait until all has been read."""
        self.flowos.process.signal(signal.SIGSTOP)
        try:
            self.flood(60_000)
        finally:
            self.flowos.process.signal(signal.SIGCONT)
        time.sleep(0.02)
        _, before = self.flowos.queue()
        with self.net.client.socket(kind=socket.SOCK_DGRAM) as source:
            for _ in range(1000):
                source.sendto(b"small", (self.net.server.ipv4, 9))
        _, after = self.flowos.queue()
        self.assertLess(after - before, 500)
