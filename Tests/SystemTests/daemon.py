"""`flowos run` on the router of a topology, controlled through `flowctl` as a user does it."""

import json
import os
import pathlib
import signal
import tempfile
import unittest

import kit
from transfer import EDITS, cats, edited, exchange, open_datagrams

BINARIES = kit.ROOT / ".build" / "release"
FLOWOS, FLOWCTL = BINARIES / "flowos", BINARIES / "flowctl"


class Daemon:
    """A daemon from `with` to the end of it; its socket lies in a directory of its own.

    program: what to run, `flowos` itself or one with more modules.
    """

    def __init__(self, net, *arguments, queues="0:1", program=FLOWOS):
        self.net = net
        self._program = program
        self._directory = tempfile.TemporaryDirectory(prefix="flowos-")
        self.socket = pathlib.Path(self._directory.name) / "flowos.sock"
        self._arguments = ("--queues", queues, *arguments)
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.process.stop()
        self._directory.cleanup()

    def start(self):
        """Starts it, again where it has ended, and waits until it answers."""
        self.process = self.net.router.start(self._program, "run", "--socket", self.socket, *self._arguments)
        kit.wait_until(lambda: "ready" in self.process.stderr or not self.process.is_running, "flowos is ready")
        if not self.process.is_running:
            raise AssertionError(f"flowos ended at once:\n{self.process.stderr}")

    def kill(self):
        """Ends it as a crash would."""
        self.process.signal(signal.SIGKILL)
        self.process.wait()

    def ctl(self, *words, **options):
        """Runs flowctl and returns its CompletedProcess."""
        return kit.run([FLOWCTL, *words], env={"FLOWOS_SOCKET": str(self.socket)}, **options)

    def ask(self, *words):
        """What `flowctl -j` prints, decoded."""
        return json.loads(self.ctl("-j", *words).stdout)

    def counters(self):
        """The engine's counters."""
        return self.ask("stats")["engine"]["counters"]

    def connections(self):
        """What stands in the table."""
        return self.ask("conn", "list")["connections"]

    def module(self, flow, name):
        """The totals of one module: `counters` and `own`."""
        modules = self.ask("stats", flow)["flows"][0]["modules"]
        return next(module for module in modules if module["name"] == name)

    @property
    def threads(self):
        """How many threads it has."""
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def queue(self):
        """Packets that wait for a verdict, and those the kernel dropped, over all queues."""
        rows = self.net.router.run("cat", "/proc/net/netfilter/nfnetlink_queue").stdout.splitlines()
        fields = [row.split() for row in rows]
        return sum(int(row[2]) for row in fields), sum(int(row[5]) + int(row[6]) for row in fields)


class DaemonTest(unittest.TestCase):
    """A test with a topology, the chain up, TCP steered both ways, and a daemon that must live through it.

    What the daemon has logged is shown when the test fails.
    """

    steered = ("-p", "tcp")
    queues = "0:1"
    program = FLOWOS
    # More of what it is started with.
    arguments = ()

    def make_topology(self):
        return kit.Topology()

    def setUp(self):
        self.net = self.enterContext(self.make_topology())
        self.net.chain("up", "--queues", self.queues)
        self.net.steer(*self.steered)
        self.flowos = self.enterContext(Daemon(self.net, *self.arguments, queues=self.queues, program=self.program))
        self.addCleanup(self._check_daemon)

    def _check_daemon(self):
        alive = self.flowos.process.is_running
        code = self.flowos.process.stop()
        if not alive or code != 0:
            self.fail(f"flowos did not end well: exit code {code}\n{self.flowos.process.stderr}")

    def attach(self, match, kind, *arguments, flow="web"):
        """Makes a flow, unless it is there, and attaches a module; returns the module's name."""
        self.flowos.ctl("flow", "add", flow, match, "--may-exist")
        return self.flowos.ctl("pm", "attach", flow, kind, *arguments).stdout.strip()

    def edit(self, edits=EDITS, *, match="ip_proto=6", flow="all"):
        """Attaches a `replace` for each of the edits, as it is to both directions of all connections."""
        for old, new in edits:
            # Long, so that no halt of the stream ends the wait for the rest of a match.
            self.attach(match, "replace", "hold=60000", f"from={old.decode()}", f"to={new.decode()}", flow=flow)

    def check_transfer(self, client, server, size, *, edits=EDITS):
        """Sends `size` octets each way at once, compares with the same edits made here, and closes both ends."""
        upload, download = cats(size, seed=1), cats(size, seed=2)
        with client, server:
            received = exchange(client, server, upload, download)
        for got, sent in zip(received, (upload, download)):
            self.assert_same(got, edited(sent, edits))

    def datagrams(self, ipv6=False, port=53):
        """The client's socket of UDP and the server's, for as long as the test."""
        client, server = open_datagrams(self.net, ipv6=ipv6, port=port)
        return self.enterContext(client), self.enterContext(server)

    def address(self, ipv6):
        return self.net.server.ipv6 if ipv6 else self.net.server.ipv4

    def assert_same(self, received, wanted):
        """Not assertEqual: the difference of two large contents is no message."""
        if received == wanted:
            return
        length = min(len(received), len(wanted))
        at = next((i for i in range(0, length, 4096) if received[i:i + 4096] != wanted[i:i + 4096]), length)
        at = next((i for i in range(at, length) if received[i] != wanted[i]), length)
        self.fail(f"{len(received)} octets instead of {len(wanted)}, which differ at {at}: "
                  f"{received[max(0, at - 60):at + 60]!r} instead of {wanted[max(0, at - 60):at + 60]!r}")
