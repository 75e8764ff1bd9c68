"""Two ends of a TCP connection that send to each other at the same time, and data for them."""

import random
import socket
import threading

MIB = 1 << 20
# What `replace` is told where it does not matter what: later octets move towards either side.
EDITS = ((b"cat", b"caterpillar"), (b"act", b""))


def edited(content, edits=EDITS):
    """What the edits, one after the other, make of the whole."""
    for old, new in edits:
        content = content.replace(old, new)
    return content


def cats(size, *, seed):
    """Octets rich in `cat`, near misses of it and what edits of it might make of them."""
    source = random.Random(seed)
    words = [b"cat", b"cat", b"ca", b"c", b"cca", b"caat", b"act", b"caterpillar", b"caterpilla", b"catcat", b"Cat",
             b"\x00", b"\xff\xfe", b"\r\n"]
    words += [source.randbytes(source.randint(1, 200)) for _ in range(40)]
    # A few MiB made word by word, cut at random and put together again.
    text = b"".join(source.choices(words, k=40_000))
    parts, length = [], 0
    while length < size:
        start = source.randrange(len(text) - 1)
        part = text[start:start + source.randint(1, 400_000)][:size - length]
        parts.append(part)
        length += len(part)
    return b"".join(parts)


class End:
    """One end at work: sends `content`, ends its direction, and collects what arrives, on two threads.

    content: the octets, or an iterable of parts of them that may take its time.
    """

    def __init__(self, connection, content):
        self._connection = connection
        self._parts = [content] if isinstance(content, bytes) else content
        self._received = bytearray()
        self._errors = []
        self._threads = [threading.Thread(target=self._guard, args=(work,), daemon=True)
                         for work in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def _guard(self, work):
        try:
            work()
        except OSError as error:
            self._errors.append(error)

    def _send(self):
        for part in self._parts:
            self._connection.sendall(part)
        self._connection.shutdown(socket.SHUT_WR)

    def _receive(self):
        while part := self._connection.recv(MIB):
            self._received += part

    @property
    def count(self):
        """Octets that have arrived so far."""
        return len(self._received)

    @property
    def so_far(self):
        return bytes(self._received)

    def finish(self, timeout=60):
        """Waits until both directions have ended and returns what arrived."""
        for thread in self._threads:
            thread.join(timeout)
            if thread.is_alive():
                raise AssertionError(f"a transfer does not end: {self.count} octets have arrived")
        if self._errors:
            raise AssertionError(f"a transfer was cut off after {self.count} octets: {self._errors[0]}")
        return bytes(self._received)


def exchange(client, server, upload, download):
    """Has both ends send at once and end their directions; returns what arrived at the server, and at the client."""
    ends = End(client, upload), End(server, download)
    down, up = [end.finish() for end in ends]
    return up, down


def open_pair(net, *, ipv6=False, port=5000, timeout=30, prepare=lambda _: None, client=None, server=None, **options):
    """A connection from the client to the server, or between other hosts of the topology: both sockets.

    prepare: is called with both, the listening one for the server's, before there is a connection. options: of `connect`.
    """
    client, server = client or net.client, server or net.server
    address = server.ipv6 if ipv6 else server.ipv4
    with server.listen(port, ipv6=ipv6) as listener:
        prepare(listener)
        near = client.connect(address, port, timeout=timeout, prepare=prepare, **options)
        far, _ = listener.accept()
    far.settimeout(timeout)
    return near, far


def open_datagrams(net, *, ipv6=False, port=53):
    """The client's socket of UDP, connected to the server's, and that one."""
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    server = net.server.socket(family, socket.SOCK_DGRAM)
    if ipv6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    server.bind(("", port))
    client = net.client.socket(family, socket.SOCK_DGRAM)
    client.connect((net.server.ipv6 if ipv6 else net.server.ipv4, port))
    return client, server
