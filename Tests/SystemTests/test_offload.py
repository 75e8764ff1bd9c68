"""Connections that no module has an interest in any more: the kernel forwards them alone, unless they were edited."""

import socket
import threading
import unittest

import kit
from daemon import DaemonTest
from transfer import MIB, cats, exchange, open_pair

SIZE = 64 * MIB


def setUpModule():
    kit.require_kernel()


class Offload(DaemonTest):
    def queued(self):
        """Packets that have come to the queues so far, as the kernel has numbered them."""
        rows = self.net.router.run("cat", "/proc/net/netfilter/nfnetlink_queue").stdout.splitlines()
        return sum(int(row.split()[7]) for row in rows)

    def say(self, source, destination, text):
        saying = threading.Thread(target=source.sendall, args=(text,))
        saying.start()
        self.assert_same(kit.receive_exactly(destination, len(text)), text)
        saying.join()

    def offloaded(self, client, server):
        """Says something that is not HTTP, until the connection is offloaded."""
        before = self.flowos.counters()["offloaded"]
        self.say(client, server, b"\x16\x03\x01 client")
        self.say(server, client, b"\x16\x03\x03 server")

        def has_left():
            self.say(client, server, b"more")
            return self.flowos.counters()["offloaded"] > before
        kit.wait_until(has_left, "the connection is offloaded")
        # The one that carried the mark has arrived; in the other direction it is the connection that carries it.
        self.say(server, client, b"more")

    def check_big_transfer(self, client, server):
        upload, download = cats(SIZE, seed=1), cats(SIZE, seed=2)
        for received, wanted in zip(exchange(client, server, upload, download), (upload, download)):
            self.assert_same(received, wanted)

    def test_the_kernel_forwards_alone_what_is_not_for_the_module(self):
        self.attach("ip_proto=6,tcp_src=5000", "adblock")
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                client, server = open_pair(self.net, ipv6=ipv6)
                with client, server:
                    self.offloaded(client, server)
                    shown = [one for one in self.flowos.connections() if one["state"] == "offloaded"]
                    self.assertFalse(shown[-1]["edited"])
                    refused = self.flowos.ctl("conn", "kill", shown[-1]["id"], check=False)
                    self.assertEqual(refused.returncode, 1)
                    self.assertIn("the kernel forwards it alone", refused.stderr)
                    # Who comes later does not get it back.
                    self.attach("ip_proto=6,tcp_src=5000", "replace", "from=cat", "to=caterpillar")
                    before = self.queued()
                    self.check_big_transfer(client, server)
                    self.assertEqual(self.queued(), before)
                self.flowos.ctl("pm", "detach", "web", "replace")

    def test_in_the_middle_of_a_transfer(self):
        # The module has its fill of one direction before, and of the other while that is at full speed.
        self.attach("ip_proto=6", "counter", f"limit={MIB}")
        content, filling = cats(SIZE, seed=1), cats(2 * MIB, seed=2)
        for ipv6 in (False, True):
            for way in ("upload", "download"):
                with self.subTest(ipv6=ipv6, way=way):
                    sender, receiver = open_pair(self.net, ipv6=ipv6)[::1 if way == "upload" else -1]
                    before = self.flowos.counters()
                    with sender, receiver:
                        self.say(receiver, sender, filling)
                        received, _ = exchange(sender, receiver, content, b"")
                    self.assert_same(received, content)
                    after = self.flowos.counters()
                    self.assertEqual(after["offloaded"] - before["offloaded"], 1)
                    self.assertLess(after["octets"] - before["octets"], SIZE)

    def test_what_was_edited_stays_here(self):
        self.attach("ip_proto=6,tcp_src=5000", "adblock")
        request = b"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nUpgrade: cats\r\n\r\n"
        answer = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                client, server = open_pair(self.net, ipv6=ipv6)
                with client, server:
                    client.sendall(request)
                    edited = request.replace(b"Accept-Encoding: gzip\r\n", b"")[:-2] + b"Accept-Encoding: identity\r\n\r\n"
                    self.assertEqual(kit.receive_exactly(server, len(edited)), edited)
                    self.say(server, client, answer)
                    shown = self.flowos.connections()[-1]
                    modules = self.flowos.ask("conn", "show", str(shown["id"]))["modules"]
                    self.assertEqual([module["state"] for module in modules], ["offloaded"])
                    before = self.queued()
                    self.check_big_transfer(client, server)
                    self.assertGreater(self.queued(), before + 1000)
        self.assertEqual(self.flowos.counters()["offloaded"], 0)

    def test_it_outlives_the_daemon(self):
        self.attach("ip_proto=6,tcp_src=5000", "adblock")
        client, server = open_pair(self.net)
        with client, server:
            self.offloaded(client, server)
            self.flowos.kill()
            self.say(client, server, b"without a daemon")
            self.say(server, client, b"without a daemon")
            self.flowos.start()
            self.attach("ip_proto=6,tcp_src=5000", "replace", "from=cat", "to=caterpillar")
            self.check_big_transfer(client, server)
        self.assertEqual(self.flowos.counters()["packets"], 0)

    def test_a_new_connection_between_the_same_ends_is_seen(self):
        """Connection tracking may take it for the old one, if that was reset by the server, or by nobody that it has seen."""
        self.attach("ip_proto=6,tcp_src=5000", "adblock")
        expected = 0
        for ipv6, iptables in ((False, "iptables"), (True, "ip6tables")):
            for resetting in ("client", "server", "unseen"):
                with self.subTest(resetting=resetting, ipv6=ipv6):
                    for _ in range(2):
                        client, server = open_pair(self.net, source_port=45678, ipv6=ipv6)
                        with client, server:
                            self.offloaded(client, server)
                            expected += 1
                            first, second = (client, server) if resetting == "client" else (server, client)
                            if resetting == "unseen":
                                for host in (self.net.client, self.net.server):
                                    host.run(iptables, "-I", "OUTPUT", "-p", "tcp", "--tcp-flags", "RST", "RST", "-j", "DROP")
                            # Without TIME-WAIT, so that the next may have the same port.
                            for end in (first, second):
                                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                                end.close()
                            if resetting == "unseen":
                                for host in (self.net.client, self.net.server):
                                    host.run(iptables, "-D", "OUTPUT", "1")
                    self.assertEqual(self.flowos.counters()["offloaded"], expected)


class Datagrams(DaemonTest):
    steered = ("-p", "udp")

    queued = Offload.queued

    def test_associations_too(self):
        self.attach("ip_proto=17", "counter", "limit=10")
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                client, server = self.datagrams(ipv6)
                before = self.flowos.counters()["offloaded"]

                def ask(text):
                    client.send(text)
                    received, peer = server.recvfrom(65_535)
                    self.assertEqual(received, text)
                    server.sendto(text, peer)
                    self.assertEqual(client.recv(65_535), text)

                ask(b"0123456789")
                ask(b"more")
                self.assertEqual(self.flowos.counters()["offloaded"] - before, 1)
                queued = self.queued()
                for number in range(1000):
                    ask(b"%d" % number)
                self.assertEqual(self.queued(), queued)


if __name__ == "__main__":
    unittest.main()
