"""Modules on threads of their own, one for each connection and direction."""

import contextlib

import kit
from daemon import DaemonTest
from transfer import EDITS, MIB, End, cats, edited, exchange, open_pair


def setUpModule():
    kit.require_kernel()


class Threads(DaemonTest):
    def setUp(self):
        super().setUp()
        self.resting = self.flowos.threads

    def see_threads_end(self):
        """Sees that none is left over, though closed connections are remembered for half a minute."""
        kit.wait_until(lambda: self.flowos.threads <= self.resting, "the threads of the modules end", timeout=20)

    def replace(self):
        for old, new in EDITS:
            self.attach("ip_proto=6", "replace", "hold=60000", f"from={old.decode()}", f"to={new.decode()}",
                        "--run", "thread", flow="all")

    def transfer(self, size):
        """Several connections at once, both ways, of both families."""
        pairs = [open_pair(self.net, ipv6=ipv6, port=5000 + number)
                 for number, ipv6 in enumerate((False, True, False, True))]
        # Two modules in each direction of each.
        self.assertEqual(self.flowos.threads - self.resting, len(pairs) * 2 * len(EDITS))
        contents = [(cats(size, seed=number), cats(size, seed=100 + number)) for number in range(len(pairs))]
        with contextlib.ExitStack() as stack:
            for pair in pairs:
                for connection in pair:
                    stack.enter_context(connection)
            ends = [(End(client, up), End(server, down)) for (client, server), (up, down) in zip(pairs, contents)]
            for (client, server), (up, down) in zip(ends, contents):
                self.assert_same(client.finish(120), edited(down))
                self.assert_same(server.finish(120), edited(up))
        self.assertEqual(self.flowos.counters()["module_failures"], 0)
        self.see_threads_end()

    def test_replace_both_ways(self):
        self.replace()
        self.transfer(8 * MIB)

    def test_replace_with_loss_everywhere(self):
        self.replace()
        with contextlib.ExitStack() as stack:
            for where in ("before", "after"):
                stack.enter_context(self.net.losing(0.01, "both", where=where, match=("-p", "tcp")))
            self.transfer(2 * MIB)

    def test_what_one_holds_holds_up_neither_a_reader_nor_another_connection(self):
        """A thread that waits for the rest of a piece, with a reader in its stage, in one connection of two."""
        self.attach("tcp,tcp_dst=5000", "gather", "size=300000", "--run", "thread", flow="slow")
        self.attach("tcp,tcp_dst=5000", "counter", "--stage", "1", flow="slow")
        self.attach("tcp,tcp_dst=5001", "counter", "--run", "thread", flow="other")
        content = cats(400_000, seed=3)
        with contextlib.ExitStack() as stack:
            client, server = [stack.enter_context(end) for end in open_pair(self.net)]
            other = [stack.enter_context(end) for end in open_pair(self.net, port=5001)]
            receiver = End(server, b"")
            client.sendall(content[:100_000])
            kit.wait_until(lambda: self.flowos.module("slow", "counter")["own"]["octets"] == 100_000, "the reader has all")
            self.assert_same(exchange(*other, content, b"")[0], content)
            self.assertEqual(receiver.count, 0)
            client.sendall(content[100_000:])
            client.shutdown(1)
            self.assert_same(receiver.finish(), content)
        self.see_threads_end()

    def test_connections_that_vanish_leave_no_thread(self):
        self.replace()
        pairs = [open_pair(self.net, port=5000 + number) for number in range(10)]
        for client, server in pairs:
            client.sendall(b"a cat")
            self.assertEqual(kit.receive_exactly(server, 13), b"a caterpillar")
        self.assertEqual(self.flowos.threads - self.resting, 10 * 2 * len(EDITS))
        self.flowos.ctl("flow", "del", "all")
        self.see_threads_end()
        # They go on, though nobody edits them any more.
        for client, server in pairs:
            with client, server:
                client.sendall(b"a cat")
                self.assertEqual(kit.receive_exactly(server, 5), b"a cat")
