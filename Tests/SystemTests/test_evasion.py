"""What modules see is what a real receiver gets, whatever a hostile client sends.

The client is a TCP made by hand (attacker.py); the server is this kernel's. Of each octet the copy that came first is to
be the one that modules see, so what the server has to get is known: the edit of those.
"""

import contextlib
import os
import random
import socket
import threading

import attacker
import kit
from attacker import ACK, LOW, RST, Attacker
from daemon import DaemonTest

PORT = 5000
LENGTH = 900
RESTRICTED = {"midstream", "one-sided", "signed", "multipath", "syn-data", "translated"}


def setUpModule():
    kit.require_kernel()


def replace_all(octets, edits):
    for old, new in edits:
        octets = octets.replace(old, new)
    return octets


class Evasion(DaemonTest):
    def setUp(self):
        super().setUp()
        for command, match in (("iptables", ("ttl", "--ttl-lt")), ("ip6tables", ("hl", "--hl-lt"))):
            # The kernel of the client knows nothing of the connections and would reset them.
            self.net.client.run(command, "-w", "-A", "OUTPUT", "-p", "tcp", "--tcp-flags", "RST", "RST", "-m", "mark",
                                "!", "--mark", attacker.OWN_MARK, "-j", "DROP")
            # As far as a router more.
            self.net.server.run(command, "-w", "-t", "raw", "-A", "PREROUTING", "-p", "tcp", "-m", match[0], match[1],
                                LOW + 1, "-j", "DROP")
        self.listeners = {ipv6: self.enterContext(self.net.server.listen(PORT, ipv6=ipv6)) for ipv6 in (False, True)}
        for listener in self.listeners.values():
            # Else what is urgent leaves the stream.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        self.seed = int(os.environ.get("FLOWOS_SEED", random.randrange(1_000_000)))

    def letters(self):
        """Contents of which every octet is edited, so that none can pass unseen."""
        source = random.Random(f"letters {self.seed}")
        return [bytes(source.choices(b"abcd", k=LENGTH)) for _ in range(3)]

    def words(self):
        source = random.Random(f"words {self.seed}")
        words = (b"INNOCENT", b"ATTACK", b"ATT", b"ACK", b"ATTACKATTACK", b" ")
        return [b"".join(source.choices(words, k=LENGTH))[:LENGTH] for _ in range(3)]

    def play(self, trick, edits, voices, *, ipv6, seed, before=attacker.nothing, mislead=attacker.nothing):
        """Plays a trick on a connection of its own, and checks what has come of it. Returns what modules have seen."""
        received = bytearray()

        def collect(connection):
            # What is reset has at least come so far.
            with contextlib.suppress(OSError):
                while part := connection.recv(65536):
                    received.extend(part)

        with Attacker(self.net, PORT, ipv6=ipv6, voices=voices, seed=seed) as a:
            before(a)
            a.open(mislead)
            server, _ = self.listeners[ipv6].accept()
            with server:
                collector = threading.Thread(target=collect, args=(server,), daemon=True)
                collector.start()
                trick(a)
                is_done = a.finish()
                collector.join(2)
            self.assert_same(bytes(received), replace_all(a.stream, edits)[:None if is_done else len(received)])
            self.assertTrue(is_done and not collector.is_alive(), f"{a.told} of {a.end} octets are acknowledged")
            connections = self.flowos.ask("conn", "list")["connections"]
            connection = next(each for each in connections if each["client_port"] == a.own_port)
            self.assertNotIn(connection["state"], RESTRICTED)
            self.assertEqual(connection["to_server"]["octets_in"], a.end)
            a.send(a.end + 1, flags=RST | ACK)
        return a.stream

    def play_all(self, edits, voices, *, mixtures):
        """Plays every trick, and some mixtures of them, in both families. Returns what modules have seen in all."""
        seen = []
        tricks = [(trick.__name__, {"trick": trick}) for trick in attacker.TRICKS]
        for opening in attacker.OPENINGS:
            tricks.append((opening.__name__, {"trick": attacker.overlaps, "mislead": opening}))
        tricks.append(("before_the_syn", {"trick": attacker.overlaps, "before": attacker.segments_before_the_answer}))
        tricks += [(f"anything {number}", {"trick": attacker.anything}) for number in range(mixtures)]
        for ipv6 in (False, True):
            for name, how in tricks:
                with self.subTest(name, ipv6=ipv6, FLOWOS_SEED=self.seed):
                    seen.append(self.play(edits=edits, voices=voices, ipv6=ipv6, seed=f"{self.seed} {name}", **how))
        return seen

    def test_through_a_reader(self):
        self.attach("ip_proto=6", "counter")
        self.play_all([], self.letters(), mixtures=4)

    def test_through_editors_of_every_octet(self):
        edits = [(b"a", b""), (b"b", b"<BEE>"), (b"c", b"C"), (b"d", b"DD")]
        names = [self.attach("ip_proto=6", "replace", f"from={old.decode()}", f"to={new.decode()}", "--name",
                             f"of-{old.decode()}") for old, new in edits]
        seen = self.play_all(edits, self.letters(), mixtures=4)
        for (old, _), name in zip(edits, names):
            module = self.flowos.module("web", name)
            self.assertEqual(module["own"]["replacements"], sum(stream.count(old) for stream in seen))

    def test_through_an_editor_that_waits_for_the_end_of_a_word(self):
        self.attach("ip_proto=6", "replace", "from=ATTACK", "to=", "hold=60000")
        self.play_all([(b"ATTACK", b"")], self.words(), mixtures=4)
