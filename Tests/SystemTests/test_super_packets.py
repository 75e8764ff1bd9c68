"""What the daemon sends itself in packets that the kernel is to cut: by what is slow, what grows, and what waits."""

import contextlib
import socket

import kit
import link
from daemon import DaemonTest
from test_path_mtu import LongTopology
from transfer import EDITS, MIB, End, cats, edited, open_pair


def setUpModule():
    kit.require_kernel()


class SuperPacketTest(DaemonTest):
    edits = EDITS

    def on_threads(self, edits=EDITS):
        """Has all octets leave by injections, for none is there when its packet gets its verdict."""
        for old, new in edits:
            self.attach("ip_proto=6", "replace", "hold=60000", f"from={old.decode()}", f"to={new.decode()}",
                        "--run", "thread", flow="all")

    def transfer(self, size=8 * MIB, *, made=True, timeout=120):
        """Sends so much both ways in both families. made: whether super-packets must have been made and arrived."""
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                before = self.flowos.counters()
                client, server = open_pair(self.net, ipv6=ipv6)
                upload, download = cats(size, seed=1), cats(size, seed=2)
                with client, server:
                    ends = End(client, upload), End(server, download)
                    down, up = [end.finish(timeout) for end in ends]
                self.assert_same(up, edited(upload, self.edits))
                self.assert_same(down, edited(download, self.edits))
                after = self.flowos.counters()
                if made:
                    self.assertGreater(after["super_packets"] - before["super_packets"], 10)
                    self.assertEqual(after["super_packets_lost"], before["super_packets_lost"])
        self.assertEqual(self.flowos.counters()["module_failures"], 0)


class SuperPackets(SuperPacketTest):
    def test_threads(self):
        self.on_threads()
        self.transfer(32 * MIB)
        self.assertEqual(self.flowos.counters()["injection_failures"], 0)

    def test_growth(self):
        """A packet of 64 KiB that grows by a half leaves behind what has no room in it."""
        self.edits = ((b"c", b"ccccccccc"),)
        self.edit(self.edits)
        self.transfer()

    def test_interfaces_that_neither_cut_nor_sum(self):
        """The checksums of what a verdict has changed are left to the kernel, where no card computes them as well."""
        for interface in ("client0", "server0"):
            self.net.router.inside(lambda: link.switch_offloads_off(interface))
        self.edit(self.edits)
        self.transfer(made=False)
        self.assertGreater(self.flowos.counters()["mangled"], 100)

    def test_what_is_paced(self):
        self.edits = ()
        self.attach("ip_proto=6", "delay", "time=20", flow="all")
        self.transfer(4 * MIB)

    def test_loss(self):
        self.on_threads()
        with contextlib.ExitStack() as stack:
            for where in ("before", "after"):
                stack.enter_context(self.net.losing(0.01, "both", where=where, match=("-p", "tcp")))
            self.transfer(2 * MIB, made=False)
        self.assertGreater(self.flowos.counters()["super_packets"], 10)

    def test_marks_of_others(self):
        """They have the mark that the packets of their source have, by which a router may choose their way."""
        for command in ("iptables", "ip6tables"):
            mangle = (command, "-w", "-t", "mangle")
            self.net.router.run(*mangle, "-A", "PREROUTING", "!", "-i", "lo", "-j", "MARK", "--set-xmark", "0x5/0x5")
            self.net.router.run(*mangle, "-A", "POSTROUTING", "-p", "tcp", "-m", "mark", "!", "--mark", "0x5/0x5",
                                "-j", "DROP")
        self.on_threads()
        self.transfer()

    def test_no_interface_is_made(self):
        interfaces = self.net.router.run("ls", "/sys/class/net").stdout
        self.on_threads()
        self.transfer(MIB)
        self.assertEqual(self.net.router.run("ls", "/sys/class/net").stdout, interfaces)
        self.flowos.kill()
        self.assertEqual(self.net.router.run("ls", "/sys/class/net").stdout, interfaces)
        self.flowos.start()

    def test_a_firewall_that_knows_nothing_of_them(self):
        """What it drops without a word leaves in single segments, as soon as that is noticed."""
        for command in ("iptables", "ip6tables"):
            self.net.router.run(command, "-w", "-A", "FORWARD", "-i", "lo", "-j", "DROP")
        self.on_threads()
        self.transfer(made=False)
        # Both ways in both families.
        self.assertEqual(self.flowos.counters()["super_packets_lost"], 4)

    def test_no_interface_to_send_them_into(self):
        kit.run(["ip", "-n", self.net.router.name, "link", "set", "lo", "down"])
        self.on_threads()
        self.transfer(made=False)
        counters = self.flowos.counters()
        self.assertEqual(counters["super_packets_lost"], 4)
        self.assertGreater(counters["injection_failures"], 0)

    def test_a_strict_reverse_path_filter(self):
        self.net.router.write_sysctl("net.ipv4.conf.all.rp_filter", 1)
        self.flowos.process.stop()
        self.flowos.start()
        self.assertIn("net.ipv4.conf.lo.rp_filter=2", self.flowos.process.stderr)
        self.on_threads()
        self.transfer(made=False)
        # Those of IPv6 leave all the same.
        counters = self.flowos.counters()
        self.assertGreater(counters["super_packets"], 10)
        self.assertEqual(counters["super_packets_lost"], 0)
        self.net.router.write_sysctl("net.ipv4.conf.lo.rp_filter", 2)
        self.flowos.process.stop()
        self.flowos.start()
        self.assertNotIn("rp_filter", self.flowos.process.stderr)
        self.on_threads()
        self.transfer()


class Masquerade(SuperPacketTest):
    """A router that hides the client, and lets back in only what belongs to a connection."""

    def setUp(self):
        super().setUp()
        self.net.masquerade()

    def guard(self):
        for command in ("iptables", "ip6tables"):
            for words in (("-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP"),
                          ("-i", "client0", "-j", "ACCEPT"),
                          ("-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "ACCEPT"),
                          ("-j", "DROP")):
                self.net.router.run(command, "-w", "-A", "FORWARD", *words)

    def test_without_a_guard(self):
        self.on_threads()
        self.transfer()
        # Towards the client connection tracking would take them for new connections: there is one in each family.
        self.assertEqual(self.net.router.read_sysctl("net.netfilter.nf_conntrack_count"), "2")

    def test_with_a_guard(self):
        """Towards the client they are untracked, and so dropped."""
        self.guard()
        self.on_threads()
        self.transfer(made=False)
        self.assertEqual(self.flowos.counters()["super_packets_lost"], 2)

    def test_with_a_guard_that_knows_them(self):
        self.guard()
        for command in ("iptables", "ip6tables"):
            self.net.router.run(command, "-w", "-I", "FORWARD", "-i", "lo", "-m", "mark", "--mark",
                                "0x10000000/0x10000000", "-j", "ACCEPT")
        self.on_threads()
        self.transfer()


class Endpoint(SuperPacketTest):
    """A router that is itself an end: nothing comes in by an interface in its name."""

    def test_both_ways(self):
        for command in ("iptables", "ip6tables"):
            for chain in ("INPUT", "OUTPUT"):
                self.net.router.run(command, "-w", "-t", "mangle", "-A", chain, "-p", "tcp", "-j", "FLOWOS")
        self.on_threads()
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                client, server = open_pair(self.net, ipv6=ipv6, server=self.net.router)
                self.check_transfer(client, server, 8 * MIB)
        counters = self.flowos.counters()
        self.assertGreater(counters["super_packets"], 10)
        self.assertEqual(counters["super_packets_lost"], 0)


class PathMTU(SuperPacketTest):
    """Where a link behind the router, or that of the router itself, becomes narrower in the middle of a transfer."""

    def make_topology(self):
        return LongTopology()

    def test_under_editors(self):
        self.on_threads([(b"cat", b"caterpillar")])
        self.narrow([(b"cat", b"caterpillar")])

    def test_under_readers(self):
        """The source finds its own segments small enough, and is not the one to help."""
        self.attach("ip_proto=6", "counter", "--run", "thread", flow="all")
        self.narrow([])

    def narrow(self, edits):
        content = cats(8 * MIB, seed=1)
        wanted = edited(content, edits)
        for router, interface in ((self.net.server, "far0"), (self.net.router, "server0")):
            for ipv6 in (False, True):
                with self.subTest(interface=interface, ipv6=ipv6):
                    self.net.forget_paths()
                    with self.net.host.listen(5000, ipv6=ipv6) as listener:
                        client = self.net.client.connect(self.net.host.ipv6 if ipv6 else self.net.host.ipv4, 5000)
                        host, _ = listener.accept()
                    host.settimeout(20)
                    # So that most of what is left is still to come when the link changes.
                    host.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 18)
                    before = self.flowos.counters()
                    with client, host:
                        sender = End(client, content)
                        received = kit.receive_exactly(host, len(wanted) // 4)
                        self.net.limit(router, interface, 1400)
                        received += kit.receive_exactly(host, len(wanted))
                        self.assert_same(received, wanted)
                        host.close()
                        sender.finish()
                    self.net.limit(router, interface, 1500)
                    after = self.flowos.counters()
                    self.assertGreater(after["super_packets"] - before["super_packets"], 10)
                    self.assertGreater(after["path_mtu"], before["path_mtu"])
                    self.assertEqual(after["super_packets_lost"], 0)
