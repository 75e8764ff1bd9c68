"""Byte strings replaced in both directions of a TCP connection at once."""

import contextlib
import functools
import hashlib

import kit
from daemon import DaemonTest
from transfer import MIB, End, cats, open_pair


def setUpModule():
    kit.require_kernel()


@functools.cache
def data(size):
    return cats(size, seed=1), cats(size, seed=2)


def digest(content):
    return hashlib.sha256(content).hexdigest()


GROW = (b"cat", b"caterpillar")
REMOVE = (b"caterpillar", b"")


class Replace(DaemonTest):
    def check(self, size, edits, *, ipv6=False):
        """Sends `size` octets each way at once and compares with the same edits made offline."""
        upload, download = data(size)
        client, server = open_pair(self.net, ipv6=ipv6)
        with client, server:
            ends = End(client, upload), End(server, download)
            received = [end.finish() for end in ends]
        for got, sent in zip(received, (download, upload)):
            wanted = sent
            for old, new in edits:
                wanted = wanted.replace(old, new)
            self.assertNotEqual(len(wanted), len(sent))
            self.assertEqual((len(got), digest(got)), (len(wanted), digest(wanted)))

    def replace(self, *edits):
        for old, new in edits:
            self.attach("ip_proto=6", "replace", f"from={old.decode()}", f"to={new.decode()}", flow="all")

    def test_grow(self):
        self.replace(GROW)
        self.check(64 * MIB, [GROW])

    def test_grow_and_then_remove(self):
        self.replace(GROW, REMOVE)
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                self.check(64 * MIB, [GROW, REMOVE], ipv6=ipv6)
        upload, download = data(64 * MIB)
        wanted = 2 * (upload.count(b"cat") + download.count(b"cat"))
        self.assertEqual(self.flowos.module("all", "replace")["own"]["replacements"], wanted)

    def test_with_loss_everywhere(self):
        self.replace(GROW, REMOVE)
        with contextlib.ExitStack() as stack:
            for where in ("before", "after"):
                stack.enter_context(self.net.losing(0.01, "both", where=where))
            for ipv6 in (False, True):
                with self.subTest(ipv6=ipv6):
                    self.check(16 * MIB, [GROW, REMOVE], ipv6=ipv6)
        self.assertGreater(self.flowos.counters()["out_of_order"], 0)

    def test_each_direction_by_its_own_flow(self):
        self.attach("ip_proto=6,tcp_dst=5000", "replace", "from=cat", "to=dog", flow="up")
        self.attach("ip_proto=6,tcp_src=5000", "replace", "from=cat", "to=", flow="down")
        upload, download = data(4 * MIB)
        client, server = open_pair(self.net)
        with client, server:
            ends = End(client, upload), End(server, download)
            down, up = [end.finish() for end in ends]
        self.assertEqual(digest(up), digest(upload.replace(b"cat", b"dog")))
        self.assertEqual(digest(down), digest(download.replace(b"cat", b"")))
