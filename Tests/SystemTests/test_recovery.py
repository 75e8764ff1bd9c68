"""The loss recovery of the ends, and narrow links, through an editor: what the kernels themselves say of it."""

import kit
from daemon import DaemonTest
from transfer import MIB, cats, edited, exchange, open_pair

EDITS = ((b"cat", b"caterpillar"), (b"act", b""))


def setUpModule():
    kit.require_kernel()


class RecoveryTest(DaemonTest):
    def make_topology(self):
        return kit.Topology(emulated=True)

    def setUp(self):
        super().setUp()
        self.edit(EDITS)

    def transfer(self, source, content, ipv6):
        """Sends `content` from one end to the other and compares what arrives."""
        ends = open_pair(self.net, ipv6=ipv6)
        with ends[0], ends[1]:
            sender, receiver = ends if source is self.net.client else ends[::-1]
            received, _ = exchange(sender, receiver, content, b"")
        self.assert_same(received, edited(content, EDITS))


class Recovery(RecoveryTest):
    """Fast retransmit and SACK of the sources work through the map, with loss on either side of the router."""

    def recover(self, *, sack):
        for end in (self.net.client, self.net.server):
            end.write_sysctl("net.ipv4.tcp_sack", int(sack))
        content = cats(MIB, seed=1)
        names = ("RetransSegs", "TCPSackRecovery", "TCPRenoRecovery")
        for number, (source, where) in enumerate(
                (source, where) for source in ("client", "server") for where in ("client", "server")):
            with self.subTest(source=source, loss=where):
                end = getattr(self.net, source)
                for side in ("client", "server"):
                    loss = 0.01 if side == where else 0
                    getattr(self.net, f"{side}_link").set({"delay": 0.005, "loss": loss}, seed=number)
                before = [end.counter(name) for name in names]
                for ipv6 in (False, True):
                    self.transfer(end, content, ipv6)
                again, with_sack, without = (end.counter(name) - old for name, old in zip(names, before))
                lost = getattr(self.net, f"{where}_link").report()["lost"]
                self.assertGreater(with_sack if sack else without, 0)
                self.assertEqual(without if sack else with_sack, 0)
                if sack:
                    # Not whole windows for one segment. Acknowledgements are among what is lost, and probes of the tail on top.
                    self.assertLessEqual(again, 2 * lost + 8)

    def test_with_sack(self):
        self.recover(sack=True)

    def test_without_sack(self):
        self.recover(sack=False)


class Bottleneck(RecoveryTest):
    """A link in front of the router, or behind it, that is narrower than all else, and drops what it cannot hold."""

    def test_either_side(self):
        content = cats(2 * MIB, seed=2)
        for side in ("client", "server"):
            with self.subTest(side=side):
                for one in ("client", "server"):
                    setting = {"delay": 0.002, "rate": 2 * MIB} if one == side else {}
                    getattr(self.net, f"{one}_link").set(setting, seed=1)
                for ipv6 in (False, True):
                    self.transfer(self.net.client, content, ipv6)
                    self.transfer(self.net.server, content, ipv6)
