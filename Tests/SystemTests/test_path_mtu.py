"""Edits that grow on paths that take only smaller packets than both ends have agreed on."""

import contextlib
import socket
import threading

import kit
import link
from daemon import DaemonTest
from transfer import MIB, cats


def setUpModule():
    kit.require_kernel()


class LongTopology(kit.Topology):
    """The server forwards to a host behind it. What it sends by `far0` may be bound to less than the host announces.

        client --- router --- server  10.77.3.1, fd00:77:3::1
                                far0
                                 |
                                eth0
                               host   10.77.3.2, fd00:77:3::2
    """

    def _build(self):
        super()._build()
        self.server.write_sysctl("net.ipv6.conf.default.accept_dad", 0)
        self.host = self._add("host", "10.77.3.2", "fd00:77:3::2")
        self.host.write_sysctl("net.ipv6.conf.default.accept_dad", 0)
        kit.run(["ip", "-n", self.host.name, "link", "set", "lo", "up"])
        self._join(self.server, "far0", self.host, "eth0")
        for namespace, interface, number in ((self.server, "far0", 1), (self.host, "eth0", 2)):
            ip = ["ip", "-n", namespace.name]
            kit.run([*ip, "addr", "add", f"10.77.3.{number}/24", "dev", interface])
            kit.run([*ip, "addr", "add", f"fd00:77:3::{number}/64", "dev", interface, "nodad"])
            kit.run([*ip, "link", "set", interface, "up"])
        for network, gateway, host_gateway in (("10.77.3.0/24", "10.77.2.2", "10.77.3.1"),
                                               ("fd00:77:3::/64", "fd00:77:2::2", "fd00:77:3::1")):
            kit.run(["ip", "-n", self.router.name, "route", "add", network, "via", gateway])
            kit.run(["ip", "-n", self.host.name, "route", "add", "default", "via", host_gateway])
        self.server.write_sysctl("net.ipv4.ip_forward", 1)
        self.server.write_sysctl("net.ipv6.conf.all.forwarding", 1)

    def limit(self, namespace, interface, mtu):
        """Bounds what a router sends by an interface; the other end of the link knows nothing of it."""
        kit.run(["ip", "-n", namespace.name, "link", "set", interface, "mtu", str(mtu)])

    def forget_paths(self):
        """Has the client forget what it has learned of paths."""
        for family in ("-4", "-6"):
            self.client.run("ip", family, "route", "flush", "cache")


class PathMTU(DaemonTest):
    """The client sends to the host. Where the path is too narrow, ICMP errors tell it so: through the router, whose daemon
    must read them and give them the client's numbers, or from the router itself. Otherwise transfers stop for good."""

    # So many that errors come to other workers than their connections.
    queues = "0:7"

    def make_topology(self):
        return LongTopology()

    def open(self, ipv6, opener):
        """A connection between client and host, opened by either: the client's and the host's socket."""
        one, other = (self.net.client, self.net.host) if opener == "client" else (self.net.host, self.net.client)
        with other.listen(5000, ipv6=ipv6) as listener:
            active = one.connect(other.ipv6 if ipv6 else other.ipv4, 5000)
            passive, _ = listener.accept()
        passive.settimeout(10)
        return (active, passive) if opener == "client" else (passive, active)

    def send(self, content, wanted, ipv6, opener, change=lambda: None):
        """Sends `content`, makes a change in the middle of it, and compares what arrives."""
        client, host = self.open(ipv6, opener)
        with client, host:
            # So that most of what is left is still to come when the change is made.
            host.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
            def feed():
                with contextlib.suppress(OSError):
                    client.sendall(content)
                    client.shutdown(socket.SHUT_WR)

            feeder = threading.Thread(target=feed, daemon=True)
            feeder.start()
            try:
                received = kit.receive_exactly(host, len(wanted) // 2)
                change()
                received += kit.receive_exactly(host, len(wanted))
            except TimeoutError:
                self.fail(f"nothing comes any more; {self.flowos.counters()}")
            self.assert_same(received, wanted)
            feeder.join(10)

    def send_each_way(self, router, interface, mtu, *, is_sudden, openers=("client", "host")):
        """Sends in both families, opened from either side, while `router` sends no more than `mtu` by `interface`: from the
        start or, where `is_sudden`, from the middle of the transfer on."""
        content = cats(4 * MIB, seed=1)
        wanted = content.replace(b"cat", b"caterpillar")
        for ipv6 in (False, True):
            for opener in openers:
                with self.subTest(interface=interface, mtu=mtu, is_sudden=is_sudden, ipv6=ipv6, opener=opener):
                    self.net.forget_paths()
                    if not is_sudden:
                        self.net.limit(router, interface, mtu)
                    self.send(content, wanted, ipv6, opener, lambda: self.net.limit(router, interface, mtu))
                    self.net.limit(router, interface, 1500)

    def grow(self):
        self.attach("ip_proto=6", "replace", "from=cat", "to=caterpillar")

    def test_a_path_is_narrower_from_the_start(self):
        self.grow()
        for router, interface in ((self.net.server, "far0"), (self.net.router, "server0")):
            self.send_each_way(router, interface, 1400, is_sudden=False)

    def test_a_path_becomes_narrower(self):
        self.grow()
        for router, interface in ((self.net.server, "far0"), (self.net.router, "server0")):
            self.send_each_way(router, interface, 1400, is_sudden=True)
        self.assertGreaterEqual(self.flowos.counters()["path_mtu"], 8)

    def test_what_fits_grows_beyond_the_path(self):
        """The client's segments leave room for growth, which fits through; grown ones do not."""
        self.grow()
        self.net.client.inside(lambda: link.switch_offloads_off("eth0"))
        for router, interface in ((self.net.server, "far0"), (self.net.router, "server0")):
            for is_sudden in (False, True):
                self.send_each_way(router, interface, 1470, is_sudden=is_sudden)
        self.assertGreaterEqual(self.flowos.counters()["path_mtu"], 16)

    def test_a_client_is_hidden_behind_the_router(self):
        self.grow()
        self.net.masquerade()
        for router, interface in ((self.net.server, "far0"), (self.net.router, "server0")):
            self.send_each_way(router, interface, 1400, is_sudden=True, openers=("client",))
        self.net.client.inside(lambda: link.switch_offloads_off("eth0"))
        for router, interface in ((self.net.server, "far0"), (self.net.router, "server0")):
            self.send_each_way(router, interface, 1470, is_sudden=True, openers=("client",))

    def test_what_the_router_sends_of_its_own_accord(self):
        """What is acknowledged already, nobody but the daemon sends again."""
        self.attach("ip_proto=6", "gather", "size=1048576")
        content = cats(4 * MIB, seed=2)
        for router, interface in ((self.net.server, "far0"), (self.net.router, "server0")):
            for ipv6 in (False, True):
                with self.subTest(interface=interface, ipv6=ipv6):
                    self.net.forget_paths()
                    self.send(content, content, ipv6, "client", lambda: self.net.limit(router, interface, 1470))
                    self.net.limit(router, interface, 1500)
        self.assertGreaterEqual(self.flowos.counters()["path_mtu"], 4)
