"""Ends that ask each other whether they live, over a connection with shifted numbers."""

import errno
import socket
import time

import kit
from daemon import DaemonTest
from transfer import edited, open_pair


def setUpModule():
    kit.require_kernel()


def ask_often(opened):
    """A keep-alive after each second without a word, and the end after two that nobody has answered."""
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 2)):
        opened.setsockopt(socket.IPPROTO_TCP, option, value)


class KeepAlive(DaemonTest):
    def setUp(self):
        super().setUp()
        self.edit()
        self._ports = iter(range(5000, 5010))

    def open(self, ipv6):
        """A connection over which an edit has gone in either direction, both ends of which ask often."""
        client, server = open_pair(self.net, ipv6=ipv6, port=next(self._ports), prepare=ask_often)
        self.enterContext(client)
        self.enterContext(server)
        self.say(client, server, b"in fact a cat")
        self.say(server, client, b"cat and cat.")
        return client, server

    def say(self, source, destination, words):
        source.sendall(words)
        wanted = edited(words)
        self.assertEqual(kit.receive_exactly(destination, len(wanted)), wanted)

    def test_an_idle_connection_stays(self):
        pairs = [self.open(ipv6) for ipv6 in (False, True)]
        time.sleep(4)
        for client, server in pairs:
            self.say(client, server, b"a third cat, in fact!")
            self.say(server, client, b"and one more cat!")
        # Several of each end of each, and all answered by the other end, for else it would be over.
        for end in (self.net.client, self.net.server):
            self.assertGreaterEqual(end.counter("TCPKeepAlive"), 6)
        self.assertEqual({one["state"] for one in self.flowos.connections()}, {"established"})

    def test_an_end_that_has_vanished_is_noticed(self):
        for vanishing in (self.net.server, self.net.client):
            with self.subTest(vanishing=vanishing.name):
                pairs = [self.open(ipv6) for ipv6 in (False, True)]
                with vanishing.silenced():
                    for client, server in pairs:
                        left = client if vanishing is self.net.server else server
                        left.settimeout(15)
                        with self.assertRaises(TimeoutError) as caught:
                            left.recv(1)
                        # The kernel's, and not the limit above, which has no number.
                        self.assertEqual(caught.exception.errno, errno.ETIMEDOUT)
