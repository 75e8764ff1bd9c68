"""The package in Examples/shout: a flowos with modules of its own."""

import kit
from daemon import DaemonTest
from transfer import MIB, End, cats, open_pair

PROGRAM = kit.ROOT / "Examples" / "shout" / ".build" / "debug" / "flowos-shout"


def setUpModule():
    kit.require_kernel()


class Shout(DaemonTest):
    program = PROGRAM

    def exchange(self, upload, download):
        client, server = open_pair(self.net)
        with client, server:
            ends = End(client, upload), End(server, download)
            return [end.finish() for end in ends]

    def test_its_modules_stand_beside_the_shipped_ones(self):
        kinds = [kind["kind"] for kind in self.flowos.ask("pm", "types")["kinds"]]
        self.assertEqual(kinds[:2], ["counter", "replace"])
        self.assertEqual(kinds[-5:], ["shout", "whisper", "redact", "remark", "ponder"])

    def test_a_module_of_calls(self):
        self.attach("ip_proto=6", "shout", flow="all")
        upload, download = cats(4 * MIB, seed=1), cats(MIB, seed=2).replace(b"cat", b"!")
        received = self.exchange(upload, download)
        self.assertGreater(download.count(b"!"), 1_000)
        self.assert_same(received[0], download.replace(b"!", b"!!"))
        self.assert_same(received[1], upload.replace(b"!", b"!!"))

    def test_a_module_that_reads(self):
        name = self.attach("ip_proto=6,tcp_dst=5000", "whisper", flow="up")
        upload, download = cats(4 * MIB, seed=3).replace(b"cat", b"CAT\n"), cats(MIB, seed=4)
        received = self.exchange(upload, download)
        self.assert_same(received[1], upload.lower())
        self.assert_same(received[0], download)
        self.assertEqual(self.flowos.module("up", name)["own"]["lines"], upload.count(b"\n"))

    def test_one_that_reads_takes_no_part_in_udp_and_says_so(self):
        self.net.steer("-p", "udp")
        names = [self.attach("ip", "whisper", "--name", name, flow="all") for name in ("one", "two")]
        client, server = self.datagrams(False)
        for _ in range(3):
            client.send(b"LOUD")
            self.assertEqual(server.recv(100), b"LOUD")
        for name in names:
            self.assertEqual(self.flowos.module("all", name)["counters"]["unseen"], 3)
        connection = self.flowos.ask("conn", "list")["connections"][0]
        modules = self.flowos.ask("conn", "show", str(connection["id"]))["modules"]
        self.assertEqual({module["state"] for module in modules}, {"skipped"})
        self.assertEqual(self.flowos.process.stderr.count("takes no part in the UDP"), 2)

    def test_behind_a_shipped_one(self):
        self.attach("ip_proto=6", "replace", "from=cat", "to=secret", flow="all")
        name = self.attach("ip_proto=6", "redact", "word=secret", flow="all")
        upload, download = cats(MIB, seed=5), cats(MIB, seed=6)
        received = self.exchange(upload, download)
        self.assert_same(received[1], upload.replace(b"cat", b"******"))
        self.assert_same(received[0], download.replace(b"cat", b"******"))
        wanted = upload.count(b"cat") + download.count(b"cat")
        self.assertEqual(self.flowos.module("all", name)["own"]["words"], wanted)
