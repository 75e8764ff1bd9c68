"""Modules that come and go while a transfer runs."""

import re
import threading
import time

import kit
from daemon import DaemonTest
from transfer import MIB, End, open_pair

RECORD = re.compile(rb"(\d{8}) (cat|caterpillar) [.]{50}\n")


def setUpModule():
    kit.require_kernel()


class Records:
    """An endless supply of numbered records, each with the pattern in it, until it is told to stop."""

    def __init__(self):
        self.count = 0
        self._stopped = threading.Event()

    def __iter__(self):
        while not self._stopped.is_set():
            yield b"".join(b"%08d cat %s\n" % (number, b"." * 50) for number in range(self.count, self.count + 500))
            self.count += 500
            time.sleep(0.001)

    def stop(self):
        self._stopped.set()


class Live(DaemonTest):
    def setUp(self):
        super().setUp()
        self.flowos.ctl("flow", "add", "all", "ip_proto=6,tcp_dst=5000")

    def change(self, *command):
        """Changes the pipeline and lets more of the transfer go by."""
        self.flowos.ctl(*command)
        target = self.receiver.count + MIB
        kit.wait_until(lambda: self.receiver.count >= target, "the transfer goes on", timeout=30)

    def run_transfer(self, commands, *, ipv6=False):
        """Runs a transfer with one change after the other; returns for each record whether it was edited."""
        records = Records()
        client, server = open_pair(self.net, ipv6=ipv6)
        with client, server:
            self.receiver = End(server, b"")
            sender = End(client, records)
            kit.wait_until(lambda: self.receiver.count >= MIB, "the transfer has begun", timeout=30)
            try:
                for command in commands:
                    self.change(*command)
            finally:
                records.stop()
            sender.finish()
            received = self.receiver.finish()
        edited = []
        at = 0
        for match in RECORD.finditer(received):
            self.assertEqual(match.start(), at, f"octets that belong nowhere: {received[at:match.start() + 80]!r}")
            self.assertEqual(int(match[1]), len(edited), "a record is missing or there twice")
            edited.append(match[2] != b"cat")
            at = match.end()
        self.assertEqual(at, len(received), f"octets that belong nowhere: {received[at:at + 80]!r}")
        self.assertEqual(len(edited), records.count)
        return edited

    def boundaries(self, edited):
        """Where edited records begin and end."""
        return [number for number in range(1, len(edited)) if edited[number] != edited[number - 1]]

    ATTACH = ("pm", "attach", "all", "replace", "from=cat", "to=caterpillar")
    DETACH = ("pm", "detach", "all", "replace")

    def test_attach_and_detach(self):
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                edited = self.run_transfer([self.ATTACH, self.DETACH], ipv6=ipv6)
                self.assertEqual(len(self.boundaries(edited)), 2)
                self.assertEqual((edited[0], edited[-1]), (False, False))

    def test_several_times(self):
        edited = self.run_transfer([self.ATTACH, self.DETACH] * 3)
        self.assertEqual(len(self.boundaries(edited)), 6)

    def test_with_loss_before_the_router(self):
        with self.net.losing(0.01, "both", where="before"):
            edited = self.run_transfer([self.ATTACH, self.DETACH])
        self.assertEqual(len(self.boundaries(edited)), 2)

    def test_with_loss_behind_the_router(self):
        with self.net.losing(0.01, "both", where="after"):
            edited = self.run_transfer([self.ATTACH, self.DETACH])
        self.assertEqual(len(self.boundaries(edited)), 2)

    def test_set_of_an_argument(self):
        self.flowos.ctl(*self.ATTACH[:-1], "to=cat")
        edited = self.run_transfer([("pm", "set", "all", "replace", "to=caterpillar"),
                                    ("pm", "set", "all", "replace", "to=cat")])
        self.assertEqual(len(self.boundaries(edited)), 2)

    def test_the_flow_goes(self):
        edited = self.run_transfer([self.ATTACH, ("flow", "del", "all")])
        self.assertEqual(len(self.boundaries(edited)), 2)
