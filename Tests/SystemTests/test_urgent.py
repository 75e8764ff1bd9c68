"""Urgent data behind octets that move it."""

import fcntl
import select
import socket
import struct

import kit
from daemon import DaemonTest
from transfer import edited, open_pair

SIOCATMARK = 0x8905
BEFORE, AFTER = b"the cat sat on a cat, in fact, " * 50, b" and one more cat said so"


def setUpModule():
    kit.require_kernel()


def is_at_mark(opened):
    return struct.unpack("i", fcntl.ioctl(opened, SIOCATMARK, bytes(4)))[0] != 0


class Urgent(DaemonTest):
    def each_way(self, check, *, is_inline):
        """Sends urgent data either way in both families, and calls `check` with its destination."""
        self.edit()
        for ipv6 in (False, True):
            for is_upload in (True, False):
                with self.subTest(ipv6=ipv6, is_upload=is_upload):
                    client, server = open_pair(self.net, ipv6=ipv6)
                    source, destination = (client, server) if is_upload else (server, client)
                    with client, server:
                        destination.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, is_inline)
                        source.sendall(BEFORE)
                        source.send(b"!", socket.MSG_OOB)
                        source.sendall(AFTER)
                        source.shutdown(socket.SHUT_WR)
                        self.assertTrue(select.select([], [], [destination], 10)[2], "the urgent octet does not come")
                        check(destination)

    def read_to_end(self, opened):
        return b"".join(iter(lambda: opened.recv(65_536), b""))

    def test_out_of_band(self):
        def check(destination):
            self.assertEqual(destination.recv(1, socket.MSG_OOB), b"!")
            self.assertEqual(self.read_to_end(destination), edited(BEFORE) + edited(AFTER))
        self.each_way(check, is_inline=False)

    def test_in_line(self):
        def check(destination):
            # The kernel ends a read in front of the mark.
            before = b""
            while not is_at_mark(destination):
                part = destination.recv(65_536)
                self.assertTrue(part, "the stream has ended without a mark")
                before += part
            self.assertEqual(before, edited(BEFORE))
            self.assertEqual(self.read_to_end(destination), b"!" + edited(AFTER))
        self.each_way(check, is_inline=True)
