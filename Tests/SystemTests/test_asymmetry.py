"""Routers of which only one direction of the connections comes by."""

import kit
from daemon import DaemonTest
from transfer import MIB, cats, exchange, open_pair


def setUpModule():
    kit.require_kernel()


class Asymmetry:
    def test_never_edited_and_called_one_sided(self):
        self.edit()
        upload, download = cats(4 * MIB, seed=1), cats(4 * MIB, seed=2)
        for number, ipv6 in enumerate((False, True), start=1):
            with self.subTest(ipv6=ipv6):
                client, server = open_pair(self.net, ipv6=ipv6)
                with client, server:
                    up, down = exchange(client, server, upload, download)
                    connection = self.flowos.connections()[-1]
                self.assert_same(up, upload)
                self.assert_same(down, download)
                self.assertEqual((connection["state"], connection["edited"]), ("one-sided", False))
                self.assertEqual(self.flowos.counters()["one_sided"], number)
        self.assertEqual(self.flowos.module("all", "replace")["counters"]["edits"], 0)
        self.assertEqual(self.flowos.counters()["midstream"], 0)


class ToServer(Asymmetry, DaemonTest):
    steered = ("-p", "tcp", "-i", "client0")


class ToClient(Asymmetry, DaemonTest):
    steered = ("-p", "tcp", "-i", "server0")
