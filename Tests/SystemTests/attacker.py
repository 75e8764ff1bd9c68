"""A TCP of its own that a hostile client plays tricks with: every segment is made by hand.

It keeps what a middlebox must have taken for the stream: of each octet the copy that came first.
"""

import random
import select
import socket
import struct
import time

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
# Dies between the router and the server, see `Evasion.setUp`.
LOW = 5
OWN_MARK = 1


def checksum(octets):
    """RFC 1071."""
    if len(octets) % 2:
        octets += b"\0"
    total = sum(struct.unpack(f"!{len(octets) // 2}H", octets))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF


class Attacker:
    """One connection from the client of a topology to a port of its server.

    voices: what the stream may say, contents of one length.
    """

    def __init__(self, net, port, *, ipv6, voices, seed):
        self.random = random.Random(f"{seed}")
        self.ipv6, self.voices, self.length = ipv6, voices, len(voices[0])
        self._uses_timestamps = self.random.random() < 0.5
        self.port, self.own_port = port, self.random.randrange(20_000, 60_000)
        family = socket.AF_INET6 if ipv6 else socket.AF_INET
        ends = [end.ipv6 if ipv6 else end.ipv4 for end in (net.client, net.server)]
        self._addresses = b"".join(socket.inet_pton(family, end) for end in ends)
        self._to = (ends[1], 0)
        self._out = net.client.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._out.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, OWN_MARK)
        self._in = net.client.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP)
        self._in.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        # Some wrap around on the way.
        self.start = self.random.choice((2**32 - 100, self.random.randrange(2**32)))
        self.peer = None
        self.clock = 1_000_000
        # How many octets are acknowledged, the FIN among them.
        self.told = 0
        # The first copy of each octet, and where the stream ends.
        self.first = {}
        self.end = self.length

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._out.close()
        self._in.close()

    # Packets

    def _options(self, clock):
        # Nothing is echoed, for an echo of what was never said is checked.
        if not self._uses_timestamps:
            return b""
        return struct.pack("!BBBBII", 1, 1, 8, 10, self.clock if clock is None else clock, 0)

    def _ip(self, payload, ttl, protocol=6, *, fragment=0, options=b""):
        if self.ipv6:
            return struct.pack("!IHBB", 6 << 28, len(payload), protocol, ttl) + self._addresses + payload
        # The kernel fills in length and checksum.
        return struct.pack(
            "!BBHHHBBH", 0x45 + len(options) // 4, 0, 0, 77, fragment, ttl, protocol, 0) + self._addresses \
            + options + payload

    def segment(self, offset, payload=b"", *, flags=ACK, ack=0, options=b"", clock=None, urgent=0, corrupt=False,
                window=60_000):
        """A TCP segment; `offset` counts from the first octet of the stream, `ack` from what the server has sent."""
        options += self._options(clock)
        options += b"\0" * (-len(options) % 4)
        number = ((self.peer or 0) + ack) % 2**32 if flags & ACK else 0
        octets = struct.pack(
            "!HHIIBBHHH", self.own_port, self.port, (self.start + offset) % 2**32, number,
            (20 + len(options)) << 2, flags, window, 0, urgent) + options + payload
        if self.ipv6:
            pseudo = self._addresses + struct.pack("!II", len(octets), 6)
        else:
            pseudo = self._addresses + struct.pack("!HH", 6, len(octets))
        total = checksum(pseudo + octets) ^ (0x5555 if corrupt else 0)
        return octets[:16] + struct.pack("!H", total) + octets[18:]

    def emit(self, packet):
        self._out.sendto(packet, self._to)

    def send(self, offset, payload=b"", *, ttl=64, **how):
        """Sends a segment that no middlebox should read, or that has nothing to read."""
        self.clock += 1
        self.emit(self._ip(self.segment(offset, payload, **how), ttl))

    def put(self, voice, begin, end, *, ttl=64, wrap=None, **how):
        """Sends octets of a voice, which are the stream's where none have come before in their place."""
        end = min(end, self.length)
        if begin >= end:
            return
        payload = self.voices[voice][begin:end]
        self.clock += 1
        segment = self.segment(begin, payload, **how)
        for packet in (wrap or self.whole)(segment, ttl):
            self.emit(packet)
        if not how.get("corrupt"):
            for place, octet in enumerate(payload, begin):
                self.first.setdefault(place, octet)

    def whole(self, segment, ttl):
        return [self._ip(segment, ttl)]

    def in_fragments(self, segment, ttl):
        """Two fragments, the last one first, where there is enough; the first must hold the whole TCP header."""
        cut = 40
        if len(segment) <= cut:
            return self.whole(segment, ttl)
        if self.ipv6:
            number = self.random.randrange(2**32)
            parts = ((cut, 0, segment[cut:]), (0, 1, segment[:cut]))
            return [self._ip(struct.pack("!BBHI", 6, 0, offset | more, number) + part, ttl, 44)
                    for offset, more, part in parts]
        return [self._ip(segment[cut:], ttl, fragment=cut // 8), self._ip(segment[:cut], ttl, fragment=0x2000)]

    def behind_options(self, segment, ttl):
        """Behind options of IPv4, or a long chain of IPv6 extension headers."""
        if not self.ipv6:
            return [self._ip(segment, ttl, options=bytes([1, 1, 1, 0]))]
        chain = bytes([60, 0, 1, 4, 0, 0, 0, 0]) * 19 + bytes([6, 0, 1, 4, 0, 0, 0, 0])
        return [self._ip(chain + segment, ttl, 60)]

    # The honest part of it

    def _receive(self, timeout):
        """The next segment of the server's: number, acknowledgement and flags; None after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            ready, _, _ = select.select([self._in], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                return None
            packet = self._in.recv(70_000)
            tcp = packet if self.ipv6 else packet[(packet[0] & 15) * 4:]
            source, destination, sequence, acknowledgement, _, flags = struct.unpack("!HHIIBB", tcp[:14])
            if (source, destination) == (self.port, self.own_port):
                return sequence, acknowledgement, flags

    def hear(self, timeout=0):
        """Takes the acknowledgements that have come; whether the server has reset the connection."""
        heard = self._receive(timeout)
        while heard:
            _, acknowledgement, flags = heard
            if flags & RST:
                return True
            distance = (acknowledgement - self.start) % 2**32
            if flags & ACK and distance <= self.length + 1:
                self.told = max(self.told, distance)
            heard = self._receive(0)
        return False

    def open(self, mislead):
        """Opens the connection. `mislead` is given it between a SYN that dies on its way and one that arrives, behind which
        another follows that dies."""
        syn = struct.pack("!BBHBBBB", 2, 4, 1_000, 4, 2, 1, 1)
        self.send(-1, flags=SYN, options=syn, ttl=LOW)
        mislead(self)
        for attempt in range(20):
            self.send(-1, flags=SYN, options=syn)
            if attempt == 0:
                self.send(5_000, flags=SYN, options=syn, ttl=LOW)
            heard = self._receive(0.2)
            while heard and not (heard[2] & SYN and heard[1] == self.start):
                heard = self._receive(0.2)
            if heard:
                self.peer = (heard[0] + 1) % 2**32
                self.send(0)
                return
        raise AssertionError("the connection does not open")

    def finish(self, timeout=15):
        """Sends what is missing, in any voice, and the FIN, until the server has all of it."""
        deadline = time.monotonic() + timeout
        while self.told <= self.end and time.monotonic() < deadline:
            begin = min(self.told, self.length)
            for place in range(begin, min(begin + 600, self.end), 150):
                self.put(self.random.randrange(len(self.voices)), place, place + 150)
            if begin + 600 >= self.end:
                self.send(self.end, flags=FIN | ACK)
            if self.hear(0.05):
                break
        return self.told > self.end

    @property
    def stream(self):
        """What was to be seen, up to the first octet that never came."""
        octets = bytearray()
        while len(octets) < self.end and len(octets) in self.first:
            octets.append(self.first[len(octets)])
        return bytes(octets)


# Tricks: each plays on an open connection, most of them in the first 300 octets.

def overlaps(a):
    a.put(0, 0, 40)
    a.put(1, 20, 60)
    a.put(2, 10, 80)
    a.put(1, 0, 90)


def overlaps_before_their_turn(a):
    a.put(1, 40, 80)
    a.put(0, 20, 60)
    a.put(2, 70, 140)
    a.put(1, 100, 120)
    a.put(2, 0, 50)


def single_octets(a):
    for place in reversed(range(60)):
        a.put(place % 3, place, place + 1)
        a.put((place + 1) % 3, place, place + 1)


def decoys(a):
    a.put(1, 0, 30, ttl=LOW)
    a.put(0, 0, 30)
    a.put(2, 60, 90, ttl=LOW)
    a.put(1, 40, 50, ttl=LOW)
    a.put(0, 30, 120)
    a.put(1, 60, 120)


def wrong_checksums(a):
    a.put(1, 0, 30, corrupt=True)
    a.put(0, 0, 30)
    a.put(1, 60, 90, corrupt=True)
    a.put(2, 30, 100)


def resets(a):
    a.put(0, 0, 50)
    a.hear(0.05)
    # What waits for the end of a word is not acknowledged, and a reset in its place would be exact.
    for place, ttl in ((30, 64), (51, 64), (90, 64), (-1, 64), (70_000, 64), (50, LOW)):
        a.send(place, flags=RST | ACK, ttl=ttl)
        a.send(place, flags=RST, ttl=ttl)
    a.put(1, 40, 100)


def early_finishes(a):
    a.put(0, 0, 50)
    a.send(80, flags=FIN | ACK, ttl=LOW)
    a.send(a.length + 50, flags=FIN | ACK)
    a.put(1, 60, 100, flags=FIN | ACK, ttl=LOW)
    a.put(0, 40, 140)


def decoy_of_the_end(a):
    a.put(0, 0, 50)
    a.send(50, flags=FIN | ACK, ttl=LOW)
    a.end = 50
    a.put(1, 50, 120)


def syns(a):
    signature = bytes([19, 18]) + bytes(16)
    join = bytes([30, 12, 0x10, 0]) + bytes(8)
    a.put(0, 0, 50)
    for place in (-1, 49, 50, 60, 70_000):
        for options in (b"", signature, join):
            a.send(place, a.voices[1][50:80], flags=SYN, options=options)
            a.send(place, a.voices[1][50:80], flags=SYN | ACK, options=options)
    a.put(1, 40, 90)


def beyond_the_window(a):
    a.send(70_000, a.voices[1][:100])
    a.send(2**31, a.voices[1][:100])
    a.send(-70_000, a.voices[1][:100])
    a.put(0, 0, 90)
    a.send(140_000, a.voices[1][:100])


def wrong_acknowledgements(a):
    a.put(1, 0, 30, ack=1_000_000)
    a.put(0, 0, 40)
    a.put(1, 60, 90, ack=-200_000)
    a.put(1, 100, 130, ack=2**31)
    a.put(2, 30, 140)


def old_timestamps(a):
    a.put(1, 0, 30, clock=10)
    a.put(0, 0, 40)
    a.put(1, 60, 90, clock=10)
    a.put(2, 30, 140)


def urgent(a):
    a.put(0, 0, 30, flags=ACK | URG, urgent=7)
    a.put(1, 20, 60, flags=ACK | URG, urgent=500)
    a.put(2, 90, 100, flags=ACK | URG, urgent=0)
    a.put(0, 50, 140, flags=ACK | URG, urgent=65_535)


def odd_flags(a):
    a.put(1, 0, 30, flags=PSH)
    a.put(0, 0, 40)
    a.put(1, 50, 70, flags=0)
    a.put(2, 40, 90)


def garbage_of_a_keepalive(a):
    a.put(0, 0, 50)
    a.hear(0.05)
    a.put(1, 49, 50)
    a.put(2, 49, 51)
    a.put(1, 40, 90)


def fragments(a):
    a.put(1, 0, 60, wrap=a.in_fragments)
    a.put(0, 0, 60)
    a.put(2, 90, 160, wrap=a.in_fragments)
    a.put(0, 50, 160, wrap=a.in_fragments)


def behind_options(a):
    a.put(1, 0, 60, wrap=a.behind_options, ttl=LOW)
    a.put(0, 0, 60, wrap=a.behind_options)
    a.put(2, 90, 160, wrap=a.behind_options)
    a.put(0, 50, 160)


TRICKS = (overlaps, overlaps_before_their_turn, single_octets, decoys, wrong_checksums, resets, early_finishes,
          decoy_of_the_end, syns, beyond_the_window, wrong_acknowledgements, old_timestamps, urgent, odd_flags,
          garbage_of_a_keepalive, fragments, behind_options)


# Tricks while the connection opens.

def nothing(a):
    pass


def segments_before_the_answer(a):
    for ack in (0, 77):
        a.send(0, ttl=LOW, ack=ack)
        a.send(0, a.voices[1][:20], ttl=LOW, ack=ack)
        a.send(10, a.voices[1][:20], ttl=LOW, ack=ack)
        a.send(0, flags=RST | ACK, ttl=LOW, ack=ack)


def another_syn(a):
    for place in (-5_000, 9, 5_000):
        a.send(place, flags=SYN, ttl=LOW)
        a.send(place + 1, a.voices[1][:20], ttl=LOW)


def a_syn_that_is_signed(a):
    a.send(-1, flags=SYN, options=bytes([19, 18]) + bytes(16))


def a_syn_that_joins(a):
    a.send(-1, flags=SYN, options=bytes([30, 12, 0x10, 0]) + bytes(8), ttl=LOW)


def a_syn_with_data(a):
    a.send(-1, a.voices[1][:20], flags=SYN)


OPENINGS = (segments_before_the_answer, another_syn, a_syn_that_is_signed, a_syn_that_joins, a_syn_with_data)


def anything(a):
    """A mixture of all of it."""
    source = a.random
    for _ in range(80):
        place = max(0, min(a.told + source.randrange(-30, 120), a.length - 1))
        end = place + source.choice((1, source.randrange(1, 60)))
        voice = source.randrange(len(a.voices))
        choice = source.randrange(16)
        if choice < 5:
            a.put(voice, place, end, ttl=source.choice((64, 64, LOW)))
        elif choice == 5:
            a.put(voice, place, end, corrupt=True)
        elif choice == 6:
            a.put(voice, place, end, ack=source.choice((1_000_000, -200_000, 2**31)), ttl=source.choice((64, LOW)))
        elif choice == 7:
            a.put(voice, place, end, clock=10)
        elif choice == 8:
            a.put(voice, place, end, flags=source.choice((0, PSH, ACK | URG)), urgent=source.randrange(100))
        elif choice == 9:
            a.put(voice, place, end, wrap=source.choice((a.in_fragments, a.behind_options)))
        elif choice == 10:
            # Never in the place where the server expects it, which would end the connection.
            a.send(a.told + source.choice((-9, 70_000, 200_000)), flags=source.choice((RST, RST | ACK)))
            a.send(place, flags=source.choice((RST, RST | ACK)), ttl=LOW)
        elif choice == 11:
            a.send(a.length + source.randrange(1, 100), flags=FIN | ACK, ttl=source.choice((64, LOW)))
        elif choice == 12:
            options = source.choice((b"", bytes([19, 18]) + bytes(16)))
            a.send(source.choice((-1, place)), a.voices[voice][place:end], flags=source.choice((SYN, SYN | ACK)),
                   options=options, ttl=source.choice((64, LOW)))
        elif choice == 13:
            a.send(a.told + source.choice((70_000, 2**31, -70_000)), a.voices[voice][:50])
        else:
            a.hear(source.choice((0, 0.002, 0.01)))
