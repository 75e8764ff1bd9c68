"""What a long transfer, and a module that wants much at once, cost."""

import hashlib
import random
import socket
import threading
import time

import kit
from daemon import DaemonTest
from transfer import MIB, End, cats, open_pair


def setUpModule():
    kit.require_kernel()


class LongTransfer(DaemonTest):
    def test_a_gibibyte_with_an_edit_every_few_kilobytes(self):
        self.attach("ip_proto=6", "replace", "from=needle", "to=haystacks", flow="all")
        source = random.Random(5)
        part = b"".join(source.randbytes(source.randint(1_000, 5_000)).replace(b"needle", b"") + b"needle"
                        for _ in range(350))
        count = (1 << 30) // len(part) + 1
        wanted = part.replace(b"needle", b"haystacks")
        client, server = open_pair(self.net)
        digest, received = hashlib.sha256(), 0
        sender = threading.Thread(target=lambda: [client.sendall(part) for _ in range(count)] and client.shutdown(1))
        largest = {"map_entries": 0, "memory_in_use": 0}
        with client, server:
            sender.start()
            looked = 0
            while octets := server.recv(4 * MIB):
                digest.update(octets)
                received += len(octets)
                if time.monotonic() - looked > 0.3:
                    looked = time.monotonic()
                    for connection in self.flowos.ask("conn", "list")["connections"]:
                        entries = connection["to_server"]["map_entries"]
                        largest["map_entries"] = max(largest["map_entries"], entries)
                    memory = self.flowos.ask("stats")["engine"]["memory_in_use"]
                    largest["memory_in_use"] = max(largest["memory_in_use"], memory)
            sender.join()
        print(f"{received >> 20} MiB, {count * 350} edits, at the most {largest} ", end="", flush=True)
        expected = hashlib.sha256()
        for _ in range(count):
            expected.update(wanted)
        self.assertEqual((received, digest.hexdigest()), (count * len(wanted), expected.hexdigest()))
        # A window of edits, not a gibibyte of them.
        self.assertLess(largest["map_entries"], 20_000)
        self.assertLess(largest["memory_in_use"], 128 * MIB)
        self.assertEqual(self.flowos.module("all", "replace")["own"]["replacements"], count * 350)


class Exhausted(DaemonTest):
    arguments = ("--memory", "16")

    def test_all_transfers_end_where_memory_is_short(self):
        # All of them together want more than there is.
        self.attach("ip_proto=6", "delay", "time=1000", flow="all")
        content = cats(50_000, seed=3)
        pairs = [open_pair(self.net, port=5000 + number) for number in range(400)]
        ends = [(End(client, content), End(server, b"")) for client, server in pairs]
        for sender, receiver in ends:
            sender.finish()
            self.assert_same(receiver.finish(), content)
        self.assertGreater(self.flowos.counters()["over_limit"], 0)
        for pair in pairs:
            for end in pair:
                end.close()


class Gather(DaemonTest):
    def make_topology(self):
        return kit.Topology(emulated=True)

    def test_a_mebibyte_through_loss_and_a_window_of_16_kib(self):
        self.attach("ip_proto=6", "gather", "size=1048576", flow="all")
        seed = random.randrange(1_000_000)
        for number, link in enumerate((self.net.client_link, self.net.server_link)):
            link.set({"loss": 0.02, "delay": 0.001}, seed=f"{seed} {number}")
        for ipv6 in (False, True):
            upload, download = cats(3 * MIB + 1234, seed=6), cats(100, seed=7)
            with self.subTest(ipv6=ipv6, seed=seed), self.net.server.listen(5000, ipv6=ipv6) as listener:
                # The kernel doubles it, and offers half of that.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
                client = self.net.client.connect(self.address(ipv6), 5000, timeout=60)
                server, _ = listener.accept()
                server.settimeout(60)
                with client, server:
                    ends = End(client, upload), End(server, download)
                    received = [end.finish(120) for end in ends]
                self.assert_same(received[1], upload)
                self.assert_same(received[0], download)
        self.assertGreater(self.flowos.module("all", "gather")["own"]["batches"], 4)
        self.assertEqual(self.flowos.module("all", "gather")["counters"]["forced_releases"], 0)
