"""How connections end: one direction after the other, by a reset, and what comes after them between the same ports."""

import errno
import socket
import struct
from concurrent.futures import ThreadPoolExecutor

import kit
from daemon import DaemonTest
from transfer import MIB, End, cats, edited, open_pair


def setUpModule():
    kit.require_kernel()


def abort(opened):
    """Closes a socket with a RST."""
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    opened.close()


class HalfClose(DaemonTest):
    def check(self, ipv6, *, server_first):
        """One end says all that it has to say; the other answers at length behind that."""
        client, server = open_pair(self.net, ipv6=ipv6)
        first, second = (server, client) if server_first else (client, server)
        with client, server:
            first.sendall(b"Tell me of the cat.")
            first.shutdown(socket.SHUT_WR)
            wanted = edited(b"Tell me of the cat.")
            self.assertEqual(kit.receive_exactly(second, len(wanted) + 1), wanted)
            self.assertEqual(self.flowos.connections()[-1]["state"], "closing")
            answer = cats(4 * MIB, seed=1)
            receiver = End(first, [])
            second.sendall(answer)
            second.shutdown(socket.SHUT_WR)
            self.assert_same(receiver.finish(), edited(answer))
        # Closed where a last segment came twice, for which the end that has forgotten the connection resets it.
        kit.wait_until(
            lambda: self.flowos.connections()[-1]["state"] in ("time-wait", "closed"), "both directions have ended")

    def test_the_client_first(self):
        self.edit()
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                self.check(ipv6, server_first=False)

    def test_the_server_first(self):
        self.edit()
        for ipv6 in (False, True):
            with self.subTest(ipv6=ipv6):
                self.check(ipv6, server_first=True)


class Reset(DaemonTest):
    """One end closes with a RST in the middle of a transfer, and the other is told of it."""

    part = cats(MIB, seed=1)

    def check(self, ipv6, *, by_client, by_sender):
        client, server = open_pair(self.net, ipv6=ipv6)
        aborting, other = (client, server) if by_client else (server, client)
        with other, ThreadPoolExecutor() as threads:
            if by_sender:
                outcome = threads.submit(self.receive_until_reset, other)
                for _ in range(4):
                    aborting.sendall(self.part)
            else:
                outcome = threads.submit(self.send_until_reset, other)
                received = kit.receive_exactly(aborting, 4 * MIB)
            self.assertTrue(self.flowos.connections()[-1]["edited"])
            abort(aborting)
            if by_sender:
                received = outcome.result()
                self.assertGreater(len(received), 0)
            outcome.result()
            self.assert_same(received, edited(self.part * 4)[:len(received)])
        kit.wait_until(lambda: self.flowos.connections()[-1]["state"] == "closed", "the table knows of it")

    def receive_until_reset(self, opened):
        received = bytearray()
        with self.assertRaises(ConnectionResetError):
            while part := opened.recv(MIB):
                received += part
        return bytes(received)

    def send_until_reset(self, opened):
        with self.assertRaises(ConnectionResetError):
            while True:
                opened.sendall(self.part)

    def test_in_the_middle_of_a_transfer(self):
        self.edit()
        for ipv6 in (False, True):
            for by_client in (True, False):
                for by_sender in (True, False):
                    with self.subTest(ipv6=ipv6, by_client=by_client, by_sender=by_sender):
                        self.check(ipv6, by_client=by_client, by_sender=by_sender)


class PortReuse(DaemonTest):
    """Ten connections in a row with the same two ports, each of them edited."""

    def ten_times(self, close):
        self.edit()
        words = b"The cat that came back. " * 100
        for ipv6 in (False, True):
            for number in range(10):
                with self.subTest(ipv6=ipv6, number=number):
                    client, server = kit.wait_until(lambda: self.open(ipv6), "the port is free")
                    client.sendall(words)
                    self.assertEqual(kit.receive_exactly(server, len(edited(words))), edited(words))
                    server.sendall(words)
                    self.assertEqual(kit.receive_exactly(client, len(edited(words))), edited(words))
                    close(client, server)

    def open(self, ipv6):
        try:
            return open_pair(self.net, ipv6=ipv6, source_port=4000)
        except OSError as error:
            # The kernel has not seen the end of the one before yet.
            if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL):
                raise
            return None

    def test_over_time_wait(self):
        def close(client, server):
            # Whoever ends first is in TIME-WAIT; on the client's side its kernel would not give the port again.
            server.shutdown(socket.SHUT_WR)
            self.assertEqual(client.recv(1), b"")
            client.close()
            self.assertEqual(server.recv(1), b"")
            server.close()
        self.ten_times(close)

    def test_after_an_abort_by_the_client(self):
        def close(client, server):
            abort(client)
            with self.assertRaises(ConnectionResetError):
                server.recv(1)
            server.close()
        self.ten_times(close)

    def test_after_an_abort_by_the_server(self):
        def close(client, server):
            abort(server)
            with self.assertRaises(ConnectionResetError):
                client.recv(1)
            client.close()
        self.ten_times(close)
