"""The target FLOWOS and its gate, without a daemon."""

import os
import pathlib
import socket
import struct
import tempfile
import unittest

import kit

INJECTED, EDITED, OFFLOADED, UNTRACKED = 0x10000000, 0x20000000, 0x40000000, 0x80000000
FAMILIES = ("iptables", "ip6tables")


def setUpModule():
    kit.require_kernel()


class ChainCommand(unittest.TestCase):
    """What `flowos-chain` does to the rules."""

    def setUp(self):
        self.net = self.enterContext(kit.Topology())

    def rules(self):
        """All rules of both families, without counters and comments."""
        lines = []
        for family in FAMILIES:
            for table in ("mangle", "raw"):
                saved = self.net.router.run(f"{family}-save", "-t", table).stdout.splitlines()
                lines += [f"{family} {table} {line}" for line in saved if line.startswith("-A") or "FLOWOS" in line]
        return lines

    def test_up_is_idempotent_and_down_removes_everything(self):
        before = self.rules()
        self.assertEqual(self.net.chain("status", check=False).returncode, 1)
        self.net.chain("up")
        once = self.rules()
        self.assertTrue(any("FLOWOS" in line for line in once))
        self.net.chain("up")
        self.assertEqual(self.rules(), once)
        self.assertEqual(self.net.chain("status").returncode, 0)
        self.net.chain("down")
        self.assertEqual(self.rules(), before)
        self.net.chain("down")
        self.assertEqual(self.rules(), before)

    def test_up_with_other_options_keeps_the_rules_that_use_the_target(self):
        self.net.chain("up")
        self.net.steer("-p", "tcp", "--dport", "80")
        self.net.chain("up", "--queues", "2:5", "--mask", "0x00f00000")
        rules = "\n".join(self.rules())
        self.assertEqual(rules.count("--dport 80 -j FLOWOS"), 2)
        # In each family: the target, for most packets and for the others, and what tells of packets that are too long.
        self.assertEqual(rules.count("--queue-balance 2:5 --queue-bypass"), 6)
        self.assertNotIn("0xf0000000", rules)
        self.assertNotIn("0x10000000", rules)

    def test_down_removes_every_use_and_says_how_many(self):
        self.net.chain("up")
        self.net.steer("-p", "tcp", "-m", "comment", "--comment", "two words; $HOME `x`")
        self.net.router.run("iptables", "-t", "mangle", "-N", "mine")
        self.net.router.run("iptables", "-t", "mangle", "-A", "mine", "-g", "FLOWOS")
        self.net.router.run("iptables", "-t", "mangle", "-A", "mine", "-j", "RETURN")
        said = self.net.chain("down").stdout
        self.assertIn("iptables: FLOWOS is down; 2 rules", said)
        self.assertIn("ip6tables: FLOWOS is down; 1 rules", said)
        self.assertEqual(self.rules(), ["iptables mangle -A mine -j RETURN"])

    def test_other_rules_are_not_touched(self):
        for table, chain in (("mangle", "POSTROUTING"), ("raw", "OUTPUT"), ("mangle", "FORWARD")):
            self.net.router.run("iptables", "-t", table, "-A", chain, "-p", "udp", "-j", "ACCEPT")
        before = self.rules()
        self.net.chain("up")
        self.net.chain("down")
        self.assertEqual(self.rules(), before)

    def test_status_shows_queues_mask_uses_and_conntrack(self):
        self.net.chain("up", "--queues", "0:1")
        self.net.steer("-p", "tcp")
        said = self.net.chain("status").stdout
        for words in (("iptables", "up", "0:1", "0xf0000000", "1", "rules"), ("ip6tables", "up", "0:1")):
            self.assertTrue(any(line.split()[:len(words)] == list(words) for line in said.splitlines()), said)
        self.assertIn("nf_conntrack  there", said)
        self.assertIn("queue 1       not bound", said)

    def test_print_runs_nothing_and_its_commands_do_what_up_does(self):
        before = self.rules()
        printed = self.net.chain("print", "--queues", "3").stdout
        self.assertEqual(self.rules(), before)
        self.net.chain("up", "--queues", "3")
        wanted = self.rules()
        self.net.chain("down")
        self.net.router.run("sh", "-e", input=printed)
        self.assertEqual(self.rules(), wanted)

    HOOKS = ("--hook", "PREROUTING", "--match", "-p tcp -m comment --comment \"two words\"", "--hook", "FORWARD",
             "--match", "-4 -i client0 -s 10.77.1.0/24", "--hook=OUTPUT")

    def uses(self):
        return [rule for rule in self.rules() if rule.endswith("-j FLOWOS")]

    def test_hooks_are_made_once_and_verified(self):
        self.net.chain("up")
        self.assertEqual(self.net.chain("status", *self.HOOKS, check=False).returncode, 1)
        self.net.chain("up", *self.HOOKS)
        once = self.uses()
        comment = '-A PREROUTING ! -i lo -p tcp -m comment --comment "two words" -j FLOWOS'
        self.assertEqual(sorted(once), sorted([
            f"iptables mangle {comment}", f"ip6tables mangle {comment}",
            "iptables mangle -A FORWARD -s 10.77.1.0/24 -i client0 -j FLOWOS",
            "iptables mangle -A OUTPUT -j FLOWOS", "ip6tables mangle -A OUTPUT -j FLOWOS"]))
        self.net.chain("up", "--queues", "4", *self.HOOKS)
        self.assertEqual(self.uses(), once)
        self.assertEqual(self.net.chain("status", *self.HOOKS).returncode, 0)
        self.net.router.run("ip6tables", "-t", "mangle", "-D", "OUTPUT", "-j", "FLOWOS")
        result = self.net.chain("status", *self.HOOKS, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("ip6tables: missing: -A OUTPUT -j FLOWOS", result.stdout)
        self.net.chain("up", *self.HOOKS)
        self.assertEqual(sorted(self.uses()), sorted(once))
        self.net.chain("down")
        self.assertEqual(self.uses(), [])

    def test_printed_hooks_do_what_up_does(self):
        printed = self.net.chain("print", *self.HOOKS).stdout
        self.net.chain("up", *self.HOOKS)
        wanted = self.rules()
        self.net.chain("down")
        # What it prints of one family only is for that one, which its command has no need to be told.
        self.net.router.run("sh", "-e", input=printed)
        self.assertEqual(self.rules(), wanted)

    def test_a_hook_that_is_not_taken_changes_nothing(self):
        before = self.rules()
        for match in ("-p nonsense", "-s 10.0.0.0/8", "--dport 80", "; reboot", "$(reboot)"):
            with self.subTest(match):
                result = self.net.chain("up", "--hook", "FORWARD", "--match", match, check=False)
                self.assertEqual(result.returncode, 1, result)
                self.assertEqual(self.rules(), before)

    def test_a_failure_leaves_all_as_it_was(self):
        real = self.net.router.run("sh", "-c", "command -v ip6tables-restore").stdout.strip()
        with tempfile.TemporaryDirectory() as directory:
            # Lets the check pass, and fails when it is meant.
            fake = pathlib.Path(directory) / "ip6tables-restore"
            fake.write_text(
                f'#!/bin/sh\ncase "$*" in *--test*) exec {real} "$@" ;; esac\n'
                'echo "broken on purpose" >&2\nexit 1\n')
            fake.chmod(0o755)
            path = {"PATH": f"{directory}:{os.environ['PATH']}"}
            before = self.rules()
            result = self.net.chain("up", check=False, env=path)
            self.assertEqual(result.returncode, 1, result)
            self.assertIn("broken on purpose", result.stderr)
            self.assertEqual(self.rules(), before)

            self.net.chain("up")
            self.net.steer("-p", "tcp")
            before = self.rules()
            for command in (("up", "--queues", "7"), ("up", "--hook", "OUTPUT"), ("down",)):
                result = self.net.chain(*command, check=False, env=path)
                self.assertEqual(result.returncode, 1, result)
                self.assertEqual(sorted(self.rules()), sorted(before), command)
                # The order of these counts.
                after = self.rules()
                self.assertEqual(
                    *([rule for rule in rules if "-A POSTROUTING" in rule] for rules in (after, before)), command)

    def test_usage_errors(self):
        for arguments in (
            (), ("sideways",), ("up", "--queues"), ("up", "--queues", "4:1"), ("up", "--queues", "65536"),
            ("up", "--queues", "a"), ("up", "--mask", "0x7"), ("up", "--mask", "0x1ffffffff"), ("up", "extra"),
            ("down", "--queues", "1"), ("status", "x"), ("up", "--hook"), ("up", "--hook", "prerouting"),
            ("up", "--match", "-p tcp"), ("up", "--hook", "INPUT", "--match", "-p tcp", "--match", "-p udp"),
            ("up", "--hook", "INPUT", "--match", "-p tcp -j DROP"), ("down", "--hook", "INPUT"),
        ):
            with self.subTest(arguments):
                result = self.net.chain(*arguments, check=False)
                self.assertEqual(result.returncode, 2, result)
                self.assertTrue(result.stderr)
        self.assertEqual(self.net.chain("--help").returncode, 0)


class Gate(unittest.TestCase):
    """What passes while no daemon runs."""

    def setUp(self):
        self.net = self.enterContext(kit.Topology())
        self.net.chain("up", "--queues", "0:1")
        self.net.steer("-p", "tcp")

    def open(self, ipv6):
        address = self.net.server.ipv6 if ipv6 else self.net.server.ipv4
        listener = self.enterContext(self.net.server.listen(80, ipv6=ipv6))
        client = self.enterContext(self.net.client.connect(address, 80))
        server = self.enterContext(listener.accept()[0])
        server.settimeout(10)
        return client, server

    def mark_connection(self, value, ipv6):
        self.net.router.run("conntrack", "-U", "-f", "ipv6" if ipv6 else "ipv4", "-p", "tcp", "--mark", value)

    def echo(self, client, server, text):
        client.sendall(text)
        return server.recv(100)

    def test_a_new_connection_passes(self):
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                client, server = self.open(ipv6)
                self.assertEqual(self.echo(client, server, b"hello"), b"hello")

    def test_an_edited_connection_is_stopped_in_both_directions(self):
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                client, server = self.open(ipv6)
                self.mark_connection(EDITED, ipv6)
                server.settimeout(1)
                client.settimeout(1)
                client.sendall(b"to the server")
                server.sendall(b"to the client")
                with self.assertRaises(socket.timeout):
                    server.recv(100)
                with self.assertRaises(socket.timeout):
                    client.recv(100)
                # It was the mark, and nothing else, that stopped them.
                self.mark_connection(0, ipv6)
                server.settimeout(10)
                client.settimeout(10)
                self.assertEqual(server.recv(100), b"to the server")
                self.assertEqual(client.recv(100), b"to the client")

    def test_an_offloaded_connection_passes(self):
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                client, server = self.open(ipv6)
                self.mark_connection(OFFLOADED, ipv6)
                self.assertEqual(self.echo(client, server, b"fast"), b"fast")

    def test_marks_of_others_on_packet_and_connection_are_kept(self):
        router = self.net.router
        router.run("iptables", "-t", "mangle", "-I", "FORWARD", "1", "-j", "MARK", "--set-xmark",
                   f"{EDITED | 0x5:#x}/{EDITED | 0xff:#x}")
        self.net.router.run("iptables", "-t", "mangle", "-A", "POSTROUTING", "-m", "mark", "--mark", "0x5/0xffffffff")
        client, server = self.open_unsteered()
        self.mark_connection(0x1230, False)
        self.assertEqual(self.echo(client, server, b"x"), b"x")
        listed = router.run("conntrack", "-L", "-p", "tcp").stdout
        self.assertIn(f"mark={EDITED | 0x1230} ", listed)
        counted = router.run("iptables", "-t", "mangle", "-L", "POSTROUTING", "-v", "-n", "-x").stdout.splitlines()
        # Our bit is gone when the packet leaves, and the other's is there.
        self.assertGreater(int(counted[-1].split()[0]), 0, counted)

    def open_unsteered(self):
        for family in FAMILIES:
            self.net.router.run(family, "-t", "mangle", "-D", "FORWARD", "-p", "tcp", "-j", "FLOWOS")
        return self.open(False)


class OwnPackets(unittest.TestCase):
    """What happens on the router to packets that the daemon makes."""

    def setUp(self):
        self.net = self.enterContext(kit.Topology())
        self.net.chain("up")
        # Also where the router's own packets are steered.
        for chain in ("FORWARD", "OUTPUT"):
            self.net.router.run("iptables", "-t", "mangle", "-A", chain, "-p", "tcp", "-j", "FLOWOS")

    def open(self):
        listener = self.enterContext(self.net.server.listen(80))
        client = self.enterContext(self.net.client.connect(self.net.server.ipv4, 80))
        self.enterContext(listener.accept()[0])
        return client.getsockname()[1]

    def inject(self, mark, client_port):
        """Sends a segment from the server's address to the client's out of the router.

        Returns the source port that the client sees, or None where nothing arrives.
        """
        source, destination = (socket.inet_aton(address) for address in (self.net.server.ipv4, self.net.client.ipv4))
        sequence = 0x12345678
        segment = struct.pack("!HHIIBBHHH", 80, client_port, sequence, 0, 0x50, 0x10, 100, 0, 0)
        total = sum(struct.unpack("!16H", source + destination + struct.pack("!HH", 6, 20) + segment))
        total = (total & 0xffff) + (total >> 16)
        segment = segment[:16] + struct.pack("!H", ~((total & 0xffff) + (total >> 16)) & 0xffff) + segment[18:]
        header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 0, 0, 64, 6, 0, source, destination)
        with self.net.client.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)) as tap, \
                self.net.router.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
            tap.settimeout(1)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, struct.pack("I", mark))
            try:
                raw.sendto(header + segment, (self.net.client.ipv4, 0))
            except PermissionError:
                return None
            try:
                while True:
                    packet = tap.recv(2048)
                    if packet[9] == 6 and packet[24:28] == struct.pack("!I", sequence):
                        return struct.unpack("!H", packet[20:22])[0]
            except socket.timeout:
                return None

    def test_they_pass_the_gate_and_keep_the_connection_marked(self):
        port = self.open()
        self.net.router.run("conntrack", "-U", "-f", "ipv4", "-p", "tcp", "--mark", EDITED)
        self.assertIsNone(self.inject(0, port))
        self.assertEqual(self.inject(INJECTED | EDITED, port), 80)
        self.assertIn(f"mark={EDITED} ", self.net.router.run("conntrack", "-L", "-p", "tcp").stdout)

    def test_without_the_untracked_bit_nat_gives_them_another_port(self):
        self.net.masquerade()
        port = self.open()
        self.assertEqual(self.inject(INJECTED | UNTRACKED, port), 80)
        # Why the bit is there.
        self.assertNotEqual(self.inject(INJECTED, port), 80)


if __name__ == "__main__":
    unittest.main()
