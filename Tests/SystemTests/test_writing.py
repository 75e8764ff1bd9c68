"""The commands of docs/writing-a-pm.md, run as they stand there, and the code that it shows."""

import re
import socket
import threading
import unittest

import kit
import tour

PAGE = "docs/writing-a-pm.md"
FILE = re.compile(r"^```swift (Examples/\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

QUOTED = re.compile(r"^```swift from (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Echo:
    """A server that sends back the first line that it gets on each connection, from `with` to the end of it."""

    def __init__(self, namespace, port):
        self._listener = namespace.listen(port)
        self._listener.settimeout(None)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                connection.sendall(lines.readline())


class Writing(unittest.TestCase):
    def test_the_code_is_that_of_the_example(self):
        shown = FILE.findall((kit.ROOT / PAGE).read_text())
        self.assertGreater(len(shown), 3)
        for name, code in shown:
            with self.subTest(name):
                self.assertEqual(code, (kit.ROOT / name).read_text())

    def test_the_declarations_are_those_of_the_library(self):
        quoted = QUOTED.findall((kit.ROOT / PAGE).read_text())
        self.assertGreater(len(quoted), 1)
        for name, code in quoted:
            rest = [line.strip() for line in (kit.ROOT / name).read_text().splitlines()]
            for line in filter(None, map(str.strip, code.splitlines())):
                with self.subTest(name, line=line):
                    # In the same order.
                    self.assertIn(line, rest)
                    rest = rest[rest.index(line) + 1:]

    def test_every_command_works(self):
        kit.require_kernel()
        net = self.enterContext(kit.Topology())
        self.enterContext(Echo(net.server, 7000))
        tour.walk(self, net, PAGE)
