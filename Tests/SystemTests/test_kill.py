"""The daemon dies in the middle of its work, and another one takes over."""

import time

import kit
from daemon import DaemonTest
from transfer import MIB, End, cats, open_pair

EDIT = ("ip_proto=6,tcp_dst=5000", "replace", "from=cat", "to=caterpillar")


def setUpModule():
    kit.require_kernel()


class Kill(DaemonTest):
    def setUp(self):
        super().setUp()
        self.attach(*EDIT)
        self.content = cats(32 * MIB, seed=1)
        self.wanted = self.content.replace(b"cat", b"caterpillar")

    def slowly(self):
        """The content in parts, over some seconds."""
        for start in range(0, len(self.content), 65536):
            yield self.content[start:start + 65536]
            time.sleep(0.005)

    def assert_prefix(self, receiver):
        received = receiver.so_far
        self.assertTrue(self.wanted.startswith(received), "a wrong octet was delivered")
        self.assertLess(len(received), len(self.wanted))
        return len(received)

    def assert_stalled(self, receiver, seconds):
        """Nothing more arrives for some time; segments that were on their way are waited for."""
        time.sleep(0.2)
        count = self.assert_prefix(receiver)
        time.sleep(seconds)
        self.assertEqual(self.assert_prefix(receiver), count)

    def assert_passes(self, wanted):
        """A new connection passes, with `wanted` at its other end."""
        client, server = open_pair(self.net)
        with client, server:
            receiver = End(server, b"")
            End(client, b"one cat, two cats").finish()
            self.assertEqual(receiver.finish(), wanted)

    def test_a_killed_daemon(self):
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                client, server = open_pair(self.net, ipv6=ipv6)
                with client, server:
                    receiver = End(server, b"")
                    End(client, self.slowly())
                    kit.wait_until(lambda: receiver.count > MIB, "the transfer has begun")
                    self.flowos.kill()
                    self.assert_stalled(receiver, 1)
                    # All others are not held up.
                    self.assert_passes(b"one cat, two cats")

                    self.flowos.start()
                    self.attach(*EDIT)
                    # Long enough for the source to have sent again several times.
                    self.assert_stalled(receiver, 2)
                    self.assertGreater(self.flowos.counters()["orphaned"], 0)
                    self.assert_passes(b"one caterpillar, two caterpillars")

    def test_an_orderly_end_stops_edited_connections_too(self):
        client, server = open_pair(self.net)
        with client, server:
            receiver = End(server, b"")
            End(client, self.slowly())
            kit.wait_until(lambda: receiver.count > MIB, "the transfer has begun")
            self.flowos.ctl("shutdown")
            self.assertEqual(self.flowos.process.wait(), 0)
            self.assert_stalled(receiver, 1)
            self.assert_passes(b"one cat, two cats")
        self.flowos.start()

    def test_a_connection_that_nothing_edits_lives_on(self):
        self.flowos.ctl("pm", "detach", "web", "replace")
        self.flowos.ctl("pm", "attach", "web", "counter")
        client, server = open_pair(self.net)
        with client, server:
            receiver = End(server, b"")
            sender = End(client, self.slowly())
            kit.wait_until(lambda: receiver.count > MIB, "the transfer has begun")
            self.flowos.kill()
            count = receiver.count
            kit.wait_until(lambda: receiver.count > count + MIB, "the transfer goes on without a daemon")
            self.flowos.start()
            self.attach(*EDIT)
            sender.finish()
            # Seen from its middle only, it is not edited.
            self.assertEqual(receiver.finish(), self.content)
        self.assertGreater(self.flowos.counters()["midstream"], 0)
