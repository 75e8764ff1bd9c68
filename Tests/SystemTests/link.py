"""A link between two interfaces that loses, repeats, delays, swaps and damages frames: there is no netem everywhere.

As a program it joins two interfaces of its network namespace, frame by frame, and takes orders from its standard input, a
JSON object a line: `{"to_router": {"loss": 0.01}, "to_end": {}}` sets what happens in either direction from now on,
`{"seed": 7}` begins the random numbers anew, `{"report": true}` is answered with what was done so far. As a module it is
the other end of that, see `Link`.

    loss, duplication, reordering, corruption   probabilities, of each frame
    delay, swap                                 seconds: of every frame, and the longest more of one that is reordered
    rate                                        octets a second, 0 for no bound; more than a second's worth is dropped
"""

import ctypes
import fcntl
import heapq
import json
import random
import select
import socket
import struct
import sys
import time

CLEAN = {"loss": 0, "duplication": 0, "reordering": 0, "corruption": 0, "delay": 0, "swap": 0.004, "rate": 0}
COUNTS = ("frames", "lost", "duplicated", "reordered", "corrupted", "overflowed")
ETH_P_ALL = 3
SOL_PACKET, PACKET_IGNORE_OUTGOING, SO_RCVBUFFORCE = 263, 23, 33
SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM, ETHTOOL_STSO = 0x17, 0x1F


def switch_offloads_off(interface):
    """Has the kernel send whole checksums and single segments by `interface`, as they are on a wire."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for command in (ETHTOOL_STSO, ETHTOOL_STXCSUM):
            # struct ethtool_value, and struct ifreq that points at it.
            value = ctypes.create_string_buffer(struct.pack("=II", command, 0), 8)
            fcntl.ioctl(control, SIOCETHTOOL, struct.pack("16sP16x", interface.encode(), ctypes.addressof(value)))


def is_sound(frame):
    """Whether the TCP checksum of an Ethernet frame with IPv4 or IPv6 and without options of those is right."""
    if frame[12:14] == b"\x86\xdd":
        addresses, segment = frame[22:54], frame[54:54 + int.from_bytes(frame[18:20], "big")]
    else:
        addresses, segment = frame[26:34], frame[34:14 + int.from_bytes(frame[16:18], "big")]
    octets = addresses + struct.pack(">II", len(segment), 6) + segment + b"\0" * (len(segment) % 2)
    total = sum(struct.unpack(f">{len(octets) // 2}H", octets))
    return total > 0 and total % 0xFFFF == 0


class Way:
    """One direction of a link."""

    def __init__(self, target):
        self.target, self.setting = target, dict(CLEAN)
        self.random = random.Random(0)
        self.free_at = 0.0
        self.done = dict.fromkeys(COUNTS, 0)

    def take(self, frame, now):
        """What becomes of a frame: when each of its copies is due, and what it is by then."""
        setting, draw, done = self.setting, self.random.random, self.done
        done["frames"] += 1
        if setting["loss"] and draw() < setting["loss"]:
            done["lost"] += 1
            return
        copies = 1
        if setting["duplication"] and draw() < setting["duplication"]:
            done["duplicated"] += 1
            copies = 2
        for _ in range(copies):
            due, copy = now + setting["delay"], frame
            if setting["reordering"] and draw() < setting["reordering"]:
                done["reordered"] += 1
                due += setting["swap"] * draw()
            # Damage upon damage of another link may cancel out in the checksum.
            if setting["corruption"] and draw() < setting["corruption"] and len(frame) > 60 and is_sound(frame):
                # Behind the Ethernet and IP headers, so that it arrives and its TCP checksum is wrong.
                start = 54 if frame[12:14] == b"\x86\xdd" else 34
                at = self.random.randrange(start, len(frame))
                done["corrupted"] += 1
                copy = bytearray(frame)
                copy[at] ^= 1 << self.random.randrange(8)
            if setting["rate"]:
                through = max(self.free_at, now) + len(frame) / setting["rate"]
                if through > now + 1:
                    done["overflowed"] += 1
                    continue
                self.free_at = through
                due = max(due, self.free_at + setting["delay"])
            yield due, copy


def emulate(end, router):
    """Joins the interfaces `end` and `router` until the standard input ends."""
    sockets = []
    for name in (end, router):
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        opened.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
        opened.bind((name, ETH_P_ALL))
        opened.setblocking(False)
        sockets.append(opened)
    ways = {"to_router": Way(sockets[1]), "to_end": Way(sockets[0])}
    sources = {sockets[0].fileno(): (sockets[0], ways["to_router"]), sockets[1].fileno(): (sockets[1], ways["to_end"])}
    poll = select.epoll()
    for descriptor in (*sources, sys.stdin.fileno()):
        poll.register(descriptor, select.EPOLLIN)
    waiting, order = [], 0
    print("ready", flush=True)
    while True:
        patience = max(0, waiting[0][0] - time.monotonic()) if waiting else -1
        for descriptor, _ in poll.poll(patience):
            if descriptor not in sources:
                line = sys.stdin.readline()
                if not line:
                    return
                obey(json.loads(line), ways)
                continue
            source, way = sources[descriptor]
            for _ in range(64):
                try:
                    frame = source.recv(70_000)
                except BlockingIOError:
                    break
                now = time.monotonic()
                for due, copy in way.take(frame, now):
                    if due <= now:
                        send(way.target, copy)
                    else:
                        order += 1
                        heapq.heappush(waiting, (due, order, way.target, copy))
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, target, frame = heapq.heappop(waiting)
            send(target, frame)


def send(target, frame):
    try:
        target.send(frame)
    except OSError:
        # An interface that is down or full loses frames, as links do.
        pass


def obey(order, ways):
    for name, way in ways.items():
        if name in order:
            way.setting = {**CLEAN, **order[name]}
        if "seed" in order:
            way.random.seed(f"{order['seed']} {name}")
            way.done = dict.fromkeys(COUNTS, 0)
    if order.get("report"):
        print(json.dumps({name: way.done for name, way in ways.items()}), flush=True)


class Link:
    """The emulator that runs in the network namespace `wire`, between its interfaces `end` and `router`."""

    def __init__(self, wire):
        self._process = wire.converse(sys.executable, __file__, "end", "router")
        if self._process.stdout.readline().strip() != "ready":
            raise AssertionError("the link emulator did not start")

    def _order(self, **order):
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def set(self, setting, *, seed):
        """Has both directions do as `setting` says, with random numbers that follow from `seed`."""
        self._order(seed=seed, to_router=setting, to_end=setting)

    def report(self):
        """What was done since the seed was set, both directions together."""
        self._order(report=True)
        ways = json.loads(self._process.stdout.readline()).values()
        return {name: sum(way[name] for way in ways) for name in COUNTS}


if __name__ == "__main__":
    emulate(*sys.argv[1:])
