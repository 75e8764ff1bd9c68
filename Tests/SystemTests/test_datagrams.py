"""Payloads of UDP, read and edited datagram by datagram."""

import errno
import socket

import kit
from daemon import DaemonTest

UDP_SEGMENT = 103


def setUpModule():
    kit.require_kernel()


class Datagrams(DaemonTest):
    steered = ("-p", "udp")

    def test_edits_keep_boundaries(self):
        self.attach("ip_proto=17", "replace", "from=cat", "to=caterpillar")
        texts = [b"a cat", b"no match", b"catcat", b"ca", b"t", b""]
        for ipv6 in (False, True):
            client, server = self.datagrams(ipv6)
            # What becomes too large for the path is cut by IPv4.
            for text in texts + ([] if ipv6 else [b"cat" * 300]):
                with self.subTest(ipv6=ipv6, text=text[:20]):
                    client.send(text)
                    received, peer = server.recvfrom(65_535)
                    self.assertEqual(received, text.replace(b"cat", b"caterpillar"))
                    server.sendto(text, peer)
                    self.assertEqual(client.recv(65_535), text.replace(b"cat", b"caterpillar"))
        states = [connection["state"] for connection in self.flowos.ask("conn", "list")["connections"]]
        self.assertEqual(states, ["udp", "udp"])

    def test_removed_payload_leaves_an_empty_datagram(self):
        self.attach("ip_proto=17", "replace", "from=cat", "to=")
        for ipv6 in (False, True):
            client, server = self.datagrams(ipv6)
            client.send(b"cat")
            self.assertEqual(server.recv(100), b"")

    def test_large_datagrams_in_fragments(self):
        self.attach("ip_proto=17", "replace", "from=cat", "to=dog")
        for ipv6 in (False, True):
            client, server = self.datagrams(ipv6)
            text = b"cat and " * 5_000
            client.send(text)
            self.assertEqual(server.recv(65_535), text.replace(b"cat", b"dog"))

    def test_an_association_is_shown_and_killed(self):
        self.attach("ip_proto=17", "counter")
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                client, server = self.datagrams(ipv6)
                client.send(b"one")
                _, peer = server.recvfrom(100)
                number, = (one["id"] for one in self.flowos.connections() if one["state"] == "udp")
                shown = self.flowos.ask("conn", "show", number)
                self.assertEqual(shown["connection"]["client_port"], peer[1])
                self.flowos.ctl("conn", "kill", number)
                client.send(b"two")
                # It is told that nothing passes any more.
                self.assertRaises(OSError, client.recv, 100)
                server.settimeout(0.3)
                self.assertRaises(TimeoutError, server.recv, 100)
                self.assertEqual(self.flowos.ask("conn", "show", number)["connection"]["state"], "cut")

    def test_super_packets_are_read_and_pass(self):
        name = self.attach("ip_proto=17", "counter")
        self.attach("ip_proto=17", "replace", "from=cat", "to=caterpillar")
        client, server = self.datagrams(False)
        try:
            client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1_000)
        except OSError as error:
            if error.errno == errno.ENOPROTOOPT:
                self.skipTest("the kernel has no UDP_SEGMENT")
            raise
        client.send(b"cat." * 2_500)
        received = [server.recv(65_535) for _ in range(10)]
        self.assertEqual(sum(map(len, received)), 10_000)
        self.assertEqual({len(one) for one in received}, {1_000})
        self.assertEqual(self.flowos.module("web", name)["own"]["octets"], 10_000)


if __name__ == "__main__":
    import unittest
    unittest.main()
