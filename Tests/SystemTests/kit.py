"""A client, a router and a server in network namespaces of their own, joined by veth pairs.

    with Topology() as net:
        listener = net.server.listen(80)
        connection = net.client.connect(net.server.ipv4, 80)

        client 10.77.1.2, fd00:77:1::2
          eth0
          |
        client0   router 10.77.1.1, fd00:77:1::1
        server0          10.77.2.1, fd00:77:2::1
          |
          eth0
        server 10.77.2.2, fd00:77:2::2

Everything is removed at the end of the `with`, also after a failure, Ctrl-C or SIGTERM. Names are unique, so several
topologies, and several test runs, can live side by side. Segmentation offload is on, as on real hosts.
"""

import atexit
import contextlib
import ctypes
import itertools
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

import link

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHAIN = ROOT / "iptables" / "flowos-chain"
CLONE_NEWNET = 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count()
_living = []


def require_kernel():
    """Skips the module, loudly, where there is no root or no NFQUEUE; with both, a test that cannot run has failed."""
    if os.geteuid() != 0:
        reason = "not root"
    elif not os.path.exists("/proc/net/netfilter/nfnetlink_queue"):
        reason = "the kernel has no NFQUEUE"
    else:
        return
    print(f"\n*** SYSTEM TESTS SKIPPED: {reason} ***\n", file=sys.stderr, flush=True)
    raise unittest.SkipTest(reason)


class CommandFailed(AssertionError):
    """A command ended with another exit code than was wanted."""


def run(command, *, timeout=30, check=True, input=None, env=None):
    """Runs a command and returns its CompletedProcess, with text output; kills it and all its children after `timeout`."""
    command = [str(word) for word in command]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True, env={**os.environ, **(env or {})})
    try:
        out, err = process.communicate(input, timeout=timeout)
    except BaseException as error:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise CommandFailed(f"{' '.join(command)}: no end after {timeout} s\n{out}{err}") from None
        raise
    result = subprocess.CompletedProcess(command, process.returncode, out, err)
    if check and result.returncode != 0:
        raise CommandFailed(f"{' '.join(command)}: exit code {result.returncode}\n{out}{err}")
    return result


def wait_until(predicate, what, *, timeout=10, interval=0.02):
    """Calls `predicate` until it returns something true, and returns that; fails naming `what` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(interval)


def receive_exactly(connection, count):
    """Reads `count` octets, or as many as come before the end of the stream."""
    parts = []
    while count > 0:
        part = connection.recv(min(count, 1 << 20))
        if not part:
            break
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


class Background:
    """A process that runs while the test goes on; its output goes to files, and is shown when something fails."""

    def __init__(self, command, *, env=None, stdin=None):
        self.command = [str(word) for word in command]
        self._out, self._err = (os.memfd_create(name) for name in ("stdout", "stderr"))
        self.process = subprocess.Popen(
            self.command, stdin=stdin or subprocess.DEVNULL, stdout=self._out, stderr=self._err,
            start_new_session=True, env={**os.environ, **(env or {})})
        self.pid = self.process.pid

    @staticmethod
    def _text(descriptor):
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode(errors="replace")

    @property
    def stdout(self):
        """What it has written so far."""
        return self._text(self._out)

    @property
    def stderr(self):
        """What it has written so far."""
        return self._text(self._err)

    @property
    def is_running(self):
        return self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=10):
        """Waits for its end and returns its exit code."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{' '.join(self.command)} still runs after {timeout} s\n{self.stdout}{self.stderr}") from None

    def stop(self, timeout=5):
        """Asks it to end, insists after `timeout`, and returns its exit code."""
        if self.is_running:
            self.process.terminate()
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    def kill(self):
        """Ends it at once, with the group of processes that it leads."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def close(self):
        self.kill()
        for descriptor in (self._out, self._err):
            with contextlib.suppress(OSError):
                os.close(descriptor)


class Namespace:
    """A network namespace: commands run in it, and sockets open in it, from the test's own process."""

    def __init__(self, name, ipv4=None, ipv6=None):
        self.name, self.ipv4, self.ipv6 = name, ipv4, ipv6
        self._background = []
        self._conversations = []
        run(["ip", "netns", "add", name])

    def _inside(self, command):
        return ["ip", "netns", "exec", self.name, *command]

    def run(self, *command, **options):
        """As the function of that name, in here."""
        return run(self._inside(command), **options)

    def start(self, *command, **options):
        """Starts a process in here that is ended with the topology at the latest."""
        process = Background(self._inside(command), **options)
        self._background.append(process)
        return process

    def converse(self, *command):
        """Starts a process in here with pipes to its standard input and output; its input ends with the topology."""
        process = subprocess.Popen(
            [str(word) for word in self._inside(command)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            start_new_session=True)
        self._conversations.append(process)
        return process

    def write_sysctl(self, name, value):
        self.run("sysctl", "-q", "-w", f"{name}={value}")

    def read_sysctl(self, name):
        return self.run("sysctl", "-n", name).stdout.strip()

    def counter(self, name):
        """What the kernel has counted in here, by its name in /proc/net/snmp or netstat, such as `TCPKeepAlive`."""
        lines = self.run("cat", "/proc/net/snmp", "/proc/net/netstat").stdout.splitlines()
        for names, values in zip(lines[::2], lines[1::2]):
            if name in names.split():
                return int(values.split()[names.split().index(name)])
        raise AssertionError(f"the kernel counts no {name}")

    def inside(self, work):
        """Calls `work` on a thread that stands in this namespace, and returns what it returns."""
        outcome = {}

        def body():
            try:
                with open(f"/run/netns/{self.name}") as file:
                    if _libc.setns(file.fileno(), CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), f"cannot enter {self.name}")
                outcome["value"] = work()
            except BaseException as error:
                outcome["error"] = error

        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        if "error" in outcome:
            raise outcome["error"]
        return outcome["value"]

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0):
        """A socket that belongs to this namespace, with a time limit of 10 s; usable from any thread."""
        opened = self.inside(lambda: socket.socket(family, kind, protocol))
        opened.settimeout(10)
        return opened

    def sockets(self, count, family):
        """As many TCP sockets that belong to this namespace."""
        return self.inside(lambda: [socket.socket(family, socket.SOCK_STREAM) for _ in range(count)])

    def listen(self, port, *, ipv6=False):
        """A listening TCP socket on all addresses of one family."""
        listener = self.socket(socket.AF_INET6 if ipv6 else socket.AF_INET)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ipv6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(("::" if ipv6 else "0.0.0.0", port))
        listener.listen(1024)
        return listener

    def connect(self, address, port, *, timeout=10, source_port=0, prepare=lambda _: None):
        """A TCP connection from here; `prepare` is called with its socket before it opens."""
        connection = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        try:
            connection.settimeout(timeout)
            prepare(connection)
            if source_port:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                connection.bind(("", source_port))
            connection.connect((address, port))
        except BaseException:
            connection.close()
            raise
        return connection

    @contextlib.contextmanager
    def _rule(self, *rule):
        """Has a rule in the table raw of both families: in front of connection tracking, and of the daemon."""
        made = []
        try:
            for command in ("iptables", "ip6tables"):
                self.run(command, "-w", "-t", "raw", "-A", *rule)
                made.append(command)
            yield
        finally:
            for command in made:
                self.run(command, "-w", "-t", "raw", "-D", *rule)

    def losing(self, probability, interface, *, match=()):
        """Drops arriving packets of `interface` at random, before connection tracking sees them, in both families.

        A super-packet of segmentation offload is lost whole.
        """
        return self._rule("PREROUTING", "-i", interface, *match, "-m", "statistic", "--mode", "random",
                          "--probability", str(probability), "-j", "DROP")

    @contextlib.contextmanager
    def silenced(self):
        """Lets no TCP in or out any more: to the other end it looks as if this one had vanished."""
        with self._rule("PREROUTING", "-p", "tcp", "-j", "DROP"), self._rule("OUTPUT", "-p", "tcp", "-j", "DROP"):
            yield

    def remove(self):
        """Ends what runs in here, by its process ids, and removes the namespace."""
        for process in self._background:
            process.close()
        for process in self._conversations:
            process.kill()
            process.stdin.close()
            process.stdout.close()
            process.wait()
        for pid in run(["ip", "netns", "pids", self.name], check=False).stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        run(["ip", "netns", "del", self.name], check=False)


class Topology:
    """Client, router and server; see the top of this file.

    emulated: puts a link emulator between either end and the router, `client_link` and `server_link`, and switches the
    segmentation offload of all interfaces off, so that each segment has its own fate.
    """

    def __init__(self, *, emulated=False):
        self._is_emulated = emulated

    def __enter__(self):
        _living.append(self)
        self._namespaces, self._wires = [], []
        try:
            self._build()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_):
        self.remove()

    def _add(self, role, ipv4=None, ipv6=None):
        namespace = Namespace(f"flowos-{os.getpid()}-{self._number}-{role}", ipv4, ipv6)
        self._namespaces.append(namespace)
        return namespace

    def _build(self):
        self._number = next(_numbers)
        self.client = self._add("client", "10.77.1.2", "fd00:77:1::2")
        self.router = self._add("router", "10.77.1.1", "fd00:77:1::1")
        self.server = self._add("server", "10.77.2.2", "fd00:77:2::2")
        for namespace in self._namespaces:
            run(["ip", "-n", namespace.name, "link", "set", "lo", "up"])
        for number, (end, port) in enumerate(((self.client, "client0"), (self.server, "server0")), start=1):
            if self._is_emulated:
                self._join_by_wire(end, port)
            else:
                self._join(self.router, port, end, "eth0")
            for namespace, interface, host in ((self.router, port, 1), (end, "eth0", 2)):
                ip = ["ip", "-n", namespace.name]
                run([*ip, "addr", "add", f"10.77.{number}.{host}/24", "dev", interface])
                # Without duplicate address detection the address can be used at once.
                run([*ip, "addr", "add", f"fd00:77:{number}::{host}/64", "dev", interface, "nodad"])
                run([*ip, "link", "set", interface, "up"])
            run(["ip", "-n", end.name, "route", "add", "default", "via", f"10.77.{number}.1"])
            run(["ip", "-n", end.name, "route", "add", "default", "via", f"fd00:77:{number}::1"])
        self.router.write_sysctl("net.ipv4.ip_forward", 1)
        self.router.write_sysctl("net.ipv6.conf.all.forwarding", 1)

        if self._is_emulated:
            self._introduce_neighbours()
            self.client_link, self.server_link = (link.Link(wire) for wire in self._wires)

    def _introduce_neighbours(self):
        """Tells all what the link addresses of the others are: what asks for them shall not be lost."""
        for number, (end, port) in enumerate(((self.client, "client0"), (self.server, "server0")), start=1):
            for one, interface, other, other_interface, host in (
                    (end, "eth0", self.router, port, 1), (self.router, port, end, "eth0", 2)):
                address = other.run("cat", f"/sys/class/net/{other_interface}/address").stdout.strip()
                for ip in (f"10.77.{number}.{host}", f"fd00:77:{number}::{host}"):
                    run(["ip", "-n", one.name, "neigh", "replace", ip, "lladdr", address, "dev", interface,
                         "nud", "permanent"])

    def _join(self, one, port, other, other_port):
        run(["ip", "-n", one.name, "link", "add", port, "type", "veth", "peer", "name", other_port, "netns", other.name])

    def _join_by_wire(self, end, port):
        wire = self._add(f"wire-{port}")
        wire.write_sysctl("net.ipv6.conf.default.disable_ipv6", 1)
        self._wires.append(wire)
        for namespace, interface, place in ((end, "eth0", "end"), (self.router, port, "router")):
            self._join(namespace, interface, wire, place)
            run(["ip", "-n", wire.name, "link", "set", place, "up"])
            namespace.inside(lambda: link.switch_offloads_off(interface))

    def set_mtu(self, client, server):
        """Sets the MTU of the link on the client's side of the router and of that on the server's."""
        for end, port, octets in ((self.client, "client0", client), (self.server, "server0", server)):
            for namespace, interface in ((end, "eth0"), (self.router, port)):
                run(["ip", "-n", namespace.name, "link", "set", interface, "mtu", octets])

    def remove(self):
        for namespace in reversed(self._namespaces):
            namespace.remove()
        if self in _living:
            _living.remove(self)

    @contextlib.contextmanager
    def losing(self, probability, direction, *, where, match=()):
        """Loses packets at random on one side of the router.

        direction: "to_server", "to_client" or "both". where: "before" the router (what its daemon never sees) or
        "after" it (what its daemon has sent). match: more words of an iptables rule, such as ("-p", "tcp").
        """
        places = {
            ("to_server", "before"): (self.router, "client0"), ("to_server", "after"): (self.server, "eth0"),
            ("to_client", "before"): (self.router, "server0"), ("to_client", "after"): (self.client, "eth0"),
        }
        directions = ("to_server", "to_client") if direction == "both" else (direction,)
        with contextlib.ExitStack() as stack:
            for one in directions:
                namespace, interface = places[one, where]
                stack.enter_context(namespace.losing(probability, interface, match=match))
            yield

    def masquerade(self):
        """Hides the client behind the router's address on the server's side."""
        for command in ("iptables", "ip6tables"):
            self.router.run(command, "-w", "-t", "nat", "-A", "POSTROUTING", "-o", "server0", "-j", "MASQUERADE")

    def chain(self, *arguments, **options):
        """Runs flowos-chain on the router."""
        return self.router.run(CHAIN, *arguments, **options)

    def steer(self, *match):
        """Sends forwarded packets of both families, those that `match`, to the target FLOWOS."""
        for command in ("iptables", "ip6tables"):
            self.router.run(command, "-w", "-t", "mangle", "-A", "FORWARD", *match, "-j", "FLOWOS")


def _remove_all():
    for topology in list(_living):
        topology.remove()


def _end(number, _frame):
    # An exception, so that every `with` on the way out cleans up.
    sys.exit(128 + number)


atexit.register(_remove_all)
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGHUP, _end)
