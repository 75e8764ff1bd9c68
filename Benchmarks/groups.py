"""What is measured, in groups: rows that are taken in turns, and what they are compared with."""

import contextlib
import dataclasses
import functools
import json
import math
import pathlib
import re
import statistics
import time

import daemon
import kit
import machine
import pages
from middleboxes import READING_FLOWOS, TOOLS, FlowOS, Middlebox, Mitmproxy, Proxy, Reader, Sender, module_kinds
from samples import Comparison, Sample, Series, in_turns

MIB, GIB = 1 << 20, 1 << 30
NEVER = ("replace", "from=\\xff\\xfenever\\x00there", "to=x")
COUNTER, ADBLOCK = ("counter",), ("adblock",)
# Of a flowos of the bench's own: adds up every octet.
READER = ("reader",)
# Has seen enough with the first octet of each connection.
OFFLOADING = ("counter", "limit=1")


@dataclasses.dataclass
class Group:
    """One group of rows, measured."""

    name: str
    title: str
    # Of the values, and of what a CPU second is spent on.
    unit: str
    cpu_unit: str = "GiB"
    series: dict[str, Series] = dataclasses.field(default_factory=dict)
    comparisons: list[Comparison] = dataclasses.field(default_factory=list)
    # What a reader of the rows should know; also what could not be measured.
    notes: list[str] = dataclasses.field(default_factory=list)

    def ratio(self, row, reference, **target):
        self.comparisons.append(Comparison(row, reference, **target))

    def limit(self, row, at_most):
        self.comparisons.append(Comparison(row, None, at_most=at_most))


class Bench:
    """What the groups have in common.

    rounds: how often each row is measured. patience: about how many seconds one measurement takes. directory: for pages.
    """

    def __init__(self, directory, *, rounds, patience, progress, mitmproxy=None):
        self.directory = pathlib.Path(directory)
        self.rounds, self.patience, self._progress, self.mitmproxy = rounds, patience, progress, mitmproxy
        self.rest = machine.Rest()

    # MARK: Content

    @functools.cached_property
    def _bytes(self):
        return pages.page(64 * MIB, seed=1)[:64 * MIB]

    def put(self, name, content):
        """Serves `content` under that name, unless it does already; returns its path on the server."""
        path = self.directory / name
        if not path.exists():
            path.write_bytes(content())
        return f"/{name}"

    def plain(self, size=64 * MIB):
        """A file of no type that any module but a counter would care for."""
        return self.put(f"plain-{size}.bin", lambda: (self._bytes * math.ceil(size / len(self._bytes)))[:size])

    def page(self, size=64 * MIB, distance=12_000):
        """An HTML page with an ad about every `distance` octets."""
        return self.put(f"page-{size}-{distance}.html", lambda: pages.page(size, seed=1, distance=distance))

    def size(self, path):
        return (self.directory / path[1:]).stat().st_size

    def check(self, box, path, *, edited=False):
        """Sees that what comes through the middlebox is what must come, before anybody asks how fast."""
        wanted = (self.directory / path[1:]).read_bytes()
        if edited:
            wanted, count = pages.without_ads(wanted)
            if count == 0:
                raise AssertionError(f"{path} has no ads")
        if box.download(path[1:]) != wanted:
            raise AssertionError(f"{box.name}: {path} does not arrive as it must")

    # MARK: Measuring

    def turns(self, group, contenders):
        """Measures the contenders in turns, into the group."""
        def progress(number):
            self.rest.look()
            self._progress(f"{group.name}: round {number} of {self.rounds}")
        group.series.update(in_turns(contenders, self.rounds, progress))

    def transfer(self, box, path, *, row=None, streams=1, repeats=None, is_warm=False):
        """A contender: octets of `path` a second, as the server has them, on so many streams at once.

        repeats: how often on each; else as often as it takes to measure it well. is_warm: each has fetched it before, out of
        the measurement.
        """
        size = self.size(path)
        if repeats is None:
            first = box.http("fetch", path, streams, 1)
            repeats = max(1, min(24, round(self.patience / first["seconds"])))

        def measure():
            busy = machine.busy_seconds()
            done = box.http("fetch", path, streams, repeats, *["warm"] * is_warm)
            busy = machine.busy_seconds() - busy
            once = size * streams
            return {row or box.name: Sample(
                once * repeats / done["seconds"] / MIB, busy / (once * (repeats + is_warm) / GIB))}
        return measure

    def requests(self, box, path, *, row, words=()):
        """A contender: requests a second of wrk with 64 connections."""
        seconds = max(1, round(self.patience * 2))

        def measure():
            busy = machine.busy_seconds()
            output = box.net.client.run("wrk", "-t1", "-c64", f"-d{seconds}s", *words, f"http://{box.address}{path}",
                                        timeout=seconds + 30).stdout
            busy = machine.busy_seconds() - busy
            done = re.search(r"(\d+) requests in", output)
            rate = re.search(r"Requests/sec:\s*([\d.]+)", output)
            if not done or int(done[1]) == 0 or "Non-2xx" in output or re.search(r"connect [1-9]|read [1-9]", output):
                raise AssertionError(f"{row}: wrk was not answered well:\n{output}")
            return {row: Sample(float(rate[1]), busy / int(done[1]) * 1e5)}
        return measure

    def questions(self, box, path):
        """A contender: how long one request takes while there is no other, half of them and 99 of a hundred."""
        count = round(2_000 * self.patience)
        box.http("ask", path, 100)

        def measure():
            each = sorted(box.http("ask", path, count)["each"])
            return {f"{box.name}, p50": Sample(each[count // 2] * 1e6), f"{box.name}, p99": Sample(each[count * 99 // 100] * 1e6)}
        return measure


# MARK: The groups

def reference(bench, name="reference", title="the references, at the beginning"):
    """What tells how much the machine itself changes: measured at the beginning and at the end of every run."""
    group = Group(name, title, "MiB/s")
    path = bench.plain()
    with contextlib.ExitStack() as stack:
        boxes = [stack.enter_context(box) for box in (
            Middlebox("vanilla", bench.directory), Reader("accept-all", bench.directory, "accept"))]
        bench.turns(group, [bench.transfer(box, path) for box in boxes])
    group.ratio("accept-all", "vanilla")
    return group


def stream(bench):
    """One stream of 64 MiB that modules read, or might edit and do not."""
    group = Group("stream", "one stream of 64 MiB", "MiB/s")
    path = bench.plain()
    directory = bench.directory
    with contextlib.ExitStack() as stack:
        boxes = [stack.enter_context(box) for box in (
            Middlebox("vanilla", directory),
            Reader("accept-all", directory, "accept"),
            Reader("accept-all, headers alone", directory, "headers"),
            Reader("accept-all behind the chain FLOWOS", directory, "accept", chain=True),
            FlowOS("counter, which looks at no octet", directory, COUNTER),
            FlowOS("one reader", directory, READER, program=READING_FLOWOS),
            FlowOS("two readers in sequence", directory, READER, READER, program=READING_FLOWOS),
            FlowOS("two readers in one stage", directory, READER, (*READER, "--stage", "1"), program=READING_FLOWOS),
            FlowOS("reader on a thread", directory, (*READER, "--run", "thread"), program=READING_FLOWOS),
            FlowOS("replace that never matches", directory, NEVER),
            FlowOS("counter that has offloaded", directory, OFFLOADING),
            Reader("mangle-all", directory, "mangle"),
        )]
        for box in boxes:
            bench.check(box, path)
        bench.turns(group, [bench.transfer(box, path) for box in boxes])
    group.ratio("accept-all", "vanilla")
    group.ratio("accept-all, headers alone", "accept-all")
    group.ratio("accept-all behind the chain FLOWOS", "accept-all")
    group.ratio("counter, which looks at no octet", "accept-all")
    group.ratio("one reader", "accept-all", at_least=0.95)
    group.ratio("two readers in sequence", "one reader", at_least=0.97)
    group.ratio("two readers in one stage", "one reader", at_least=0.97)
    group.ratio("reader on a thread", "one reader")
    group.ratio("replace that never matches", "accept-all", at_least=0.93)
    group.ratio("counter that has offloaded", "vanilla", at_least=0.97)
    group.ratio("mangle-all", "vanilla")
    return group


_ARRANGEMENTS = {
    "nat": [("nat", "source=10.77.3.1")],
    "ipchecksum, then nat": [("ipchecksum",), ("nat", "source=10.77.3.1")],
    "ipchecksum beside nat": [("ipchecksum",), ("nat", "source=10.77.3.1", "--stage", "1")],
}


class Translating(FlowOS):
    """FlowOS with the modules of the paper's figure 4: the client goes by an address that no host has."""

    def __init__(self, name, directory, *modules, steer, **options):
        super().__init__(name, directory, *modules, match="ip,ipv4_src=10.77.1.2", steer=steer, **options)

    def set_up(self, stack):
        kit.run(["ip", "-n", self.net.router.name, "route", "add", "10.77.3.1", "via", "10.77.1.2"])
        super().set_up(stack)


def figure4(bench):
    """The arrangement of the paper's figure 4: translation alone, behind a check of the checksums, and beside it."""
    group = Group("figure4", "figure 4: nat, and ipchecksum in sequence and in one stage", "MiB/s")
    path = bench.plain()
    missing = {"nat", "ipchecksum"} - module_kinds()
    if missing:
        group.notes.append(f"not there: {', '.join(sorted(missing))} (no module of that kind in this FlowOS)")
        return group
    with contextlib.ExitStack() as stack:
        boxes = [stack.enter_context(box) for box in (
            Middlebox("vanilla", bench.directory), Reader("mangle-all", bench.directory, "mangle"),
            *(Translating(name, bench.directory, *modules, steer=("-p", "tcp")) for name, modules in _ARRANGEMENTS.items()))]
        for box in boxes:
            bench.check(box, path)
        bench.turns(group, [bench.transfer(box, path) for box in boxes])
    group.ratio("nat", "vanilla")
    group.ratio("nat", "mangle-all")
    group.ratio("ipchecksum, then nat", "nat", at_least=0.97)
    group.ratio("ipchecksum beside nat", "nat", at_least=0.97)
    group.notes.append("ipchecksum sees what the client sends, requests and acknowledgements; group 'packets' has it look at all octets")
    return group


PACKET_SIZES = (64, 128, 256, 512, 1024, 1500)


def packets(bench):
    """The same over packets of one size, as the paper has it: UDP, with no more on the way than arrives."""
    group = Group("packets", "figure 4, by size of packet: datagrams", "Mbit/s")
    # Datagrams with checksums that are there to be looked at, as they come from a wire.
    boxes = [Middlebox("vanilla", bench.directory, offloads=False),
             Reader("accept-all", bench.directory, "accept", match=("-p", "udp"), offloads=False)]
    if {"nat", "ipchecksum"} <= module_kinds():
        boxes += [Translating(name, bench.directory, *modules, steer=("-p", "udp"), offloads=False)
                  for name, modules in _ARRANGEMENTS.items()]
    else:
        group.notes.append("not there: nat, ipchecksum (no module of that kind in this FlowOS)")
    with contextlib.ExitStack() as stack:
        for box in boxes:
            stack.enter_context(box)
            process = box.net.server.start(TOOLS / "datagrams", "receive", 9)
            kit.wait_until(lambda: "ready" in process.stdout, "the receiver is ready")

        def contender(box, size):
            def measure():
                busy = machine.busy_seconds()
                done = json.loads(box.net.client.run(
                    TOOLS / "datagrams", "send", box.address, 9, size, bench.patience / 2, timeout=30).stdout)
                octets = done["datagrams"] * size
                return {f"{box.name}, {size} octets": Sample(
                    octets * 8 / done["seconds"] / 1e6, (machine.busy_seconds() - busy) / (max(octets, 1) / GIB))}
            return measure
        bench.turns(group, [contender(box, size) for size in PACKET_SIZES for box in boxes])
    for size in PACKET_SIZES:
        group.ratio(f"accept-all, {size} octets", f"vanilla, {size} octets")
        group.ratio(f"nat, {size} octets", f"accept-all, {size} octets")
        for name in list(_ARRANGEMENTS)[1:]:
            group.ratio(f"{name}, {size} octets", f"nat, {size} octets", at_least=0.97)
    return group


ROADS = {"mangle-all": "mangle", "dropped and sent into lo": "packet", "dropped and sent through a TUN": "tun"}
ROAD_SIZES = (65_536, 16_384, 4_096, 1_500)


def roads(bench):
    """How changed packets get back to the kernel: by a mangled verdict, or dropped and sent anew to be cut by it."""
    group = Group("roads", "roads out for changed packets, by their size: one stream", "MiB/s")
    path = bench.plain()
    with contextlib.ExitStack() as stack:
        boxes = [stack.enter_context(Sender(f"{name}, {size} octets", bench.directory, mode, size))
                 for size in ROAD_SIZES for name, mode in ROADS.items()]
        for box in boxes:
            bench.check(box, path)
        bench.turns(group, [bench.transfer(box, path) for box in boxes])
    for size in ROAD_SIZES:
        for name in list(ROADS)[1:]:
            group.ratio(f"{name}, {size} octets", f"mangle-all, {size} octets")
    return group


def page(bench):
    """An HTML page of 64 MiB whose ads are removed: by FlowOS, and by those who terminate the connection."""
    group = Group("page", "HTML page of 64 MiB, an ad every 12 kB", "MiB/s")
    often, seldom = bench.page(), bench.page(distance=MIB)
    directory = bench.directory
    with contextlib.ExitStack() as stack:
        vanilla, accept, mangle, adblock, default, large, eight = (stack.enter_context(box) for box in (
            Middlebox("vanilla", directory),
            Reader("accept-all", directory, "accept"),
            Reader("mangle-all", directory, "mangle"),
            FlowOS("adblock", directory, ADBLOCK),
            Proxy("nginx sub_filter", directory, Proxy.one_word),
            Proxy("nginx sub_filter, large buffers", directory, Proxy.one_word_large),
            Proxy("nginx sub_filter of eight words, large buffers", directory, Proxy.eight_words_large),
        ))
        bench.check(adblock, often, edited=True)
        bench.check(adblock, seldom, edited=True)
        for box in (accept, mangle):
            bench.check(box, often)
        contenders = [bench.transfer(box, often) for box in (vanilla, accept, mangle, adblock, default, large, eight)]
        contenders.append(bench.transfer(adblock, seldom, row="adblock, an ad a MiB"))
        contenders.append(bench.transfer(large, seldom, row="nginx sub_filter, large buffers, an ad a MiB"))
        if bench.mitmproxy:
            box = stack.enter_context(Mitmproxy("mitmproxy", directory, bench.mitmproxy))
            bench.check(box, often, edited=True)
            contenders.append(bench.transfer(box, often, repeats=1))
        bench.turns(group, contenders)
    group.ratio("accept-all", "vanilla")
    group.ratio("mangle-all", "vanilla")
    group.ratio("adblock", "vanilla")
    group.ratio("adblock", "mangle-all", at_least=0.90)
    group.ratio("adblock", "nginx sub_filter", at_least=2.5)
    group.ratio("adblock", "nginx sub_filter, large buffers", at_least=1.0, goal=True)
    group.ratio("adblock, an ad a MiB", "adblock", at_least=1.0)
    group.ratio("adblock, an ad a MiB", "nginx sub_filter, large buffers, an ad a MiB", at_least=1.0, goal=True)
    group.ratio("mitmproxy", "vanilla")
    group.notes.append("nginx looks for one word, its best case, or for eight, as adblock does, and removes these; it has no patterns")
    return group


STREAMS = (1, 10, 100, 1_000)


def streams(bench):
    """The paper's figure 5: more and more streams at once through `adblock`, the same octets in all."""
    group = Group("streams", "figure 5: adblock on several streams at once", "MiB/s")
    together = 256 * MIB
    with contextlib.ExitStack() as stack:
        boxes = [stack.enter_context(box) for box in (
            Middlebox("vanilla", bench.directory), Reader("mangle-all", bench.directory, "mangle"),
            FlowOS("adblock", bench.directory, ADBLOCK),
            FlowOS("adblock on two queues", bench.directory, ADBLOCK, queues="0:1"))]
        contenders = []
        for count in STREAMS:
            path = bench.page(together // count)
            bench.check(boxes[2], path, edited=True)
            bench.check(boxes[3], path, edited=True)
            contenders += [bench.transfer(box, path, row=f"{box.name}, {count}", streams=count, repeats=1, is_warm=True) for box in boxes]
        bench.turns(group, contenders)
    for count in STREAMS:
        group.ratio(f"adblock on two queues, {count}", f"adblock, {count}")
        group.ratio(f"adblock, {count}", f"vanilla, {count}")
        group.ratio(f"adblock, {count}", f"mangle-all, {count}")
    group.ratio("vanilla, 1000", "vanilla, 1")
    group.ratio("mangle-all, 1000", "mangle-all, 1")
    group.ratio("adblock, 1000", "adblock, 1", at_least=0.9)
    return group


def gso(bench):
    """The paper's figure 6: what it costs when packets are cut before they are read, and when hosts send them cut."""
    group = Group("gso", "figure 6: segmentation offload", "MiB/s")
    path, html = bench.plain(), bench.page()
    directory = bench.directory
    with contextlib.ExitStack() as stack:
        def rows(suffix, *boxes):
            for box in boxes:
                stack.enter_context(box)
                yield bench.transfer(box, html if "adblock" in box.name else path, row=f"{box.name}, {suffix}")
        contenders = [
            *rows("GSO on", Middlebox("vanilla", directory), Reader("accept-all", directory, "accept"),
                  Reader("mangle-all", directory, "mangle"), FlowOS("counter", directory, COUNTER),
                  FlowOS("adblock", directory, ADBLOCK)),
            *rows("cut in front of the queue", Reader("accept-all", directory, "accept", segmented=True),
                  Reader("mangle-all", directory, "mangle", segmented=True)),
            *rows("cut by the hosts", Middlebox("vanilla", directory, offloads=False),
                  Reader("accept-all", directory, "accept", offloads=False),
                  Reader("accept-all, headers alone", directory, "headers", offloads=False),
                  Reader("mangle-all", directory, "mangle", offloads=False),
                  FlowOS("counter", directory, COUNTER, offloads=False),
                  FlowOS("adblock", directory, ADBLOCK, offloads=False)),
        ]
        bench.turns(group, contenders)
    for name in ("accept-all", "mangle-all"):
        group.ratio(f"{name}, cut in front of the queue", f"{name}, GSO on")
    for name in ("vanilla", "accept-all", "mangle-all", "counter", "adblock"):
        group.ratio(f"{name}, cut by the hosts", f"{name}, GSO on")
    group.ratio("accept-all, headers alone, cut by the hosts", "accept-all, cut by the hosts")
    group.ratio("counter, cut by the hosts", "accept-all, cut by the hosts")
    group.ratio("adblock, cut by the hosts", "mangle-all, cut by the hosts")
    group.notes.append("flowos has no switch for GSO on its queue: it always takes packets whole")
    return group


def small(bench):
    """Small objects, on connections that are kept and on a new one each."""
    group = Group("small", "objects of 1 KiB, wrk with 64 connections", "requests/s", cpu_unit="100,000 requests")
    path = bench.page(1024, distance=600)
    directory = bench.directory
    with contextlib.ExitStack() as stack:
        boxes = [stack.enter_context(box) for box in (
            Middlebox("vanilla", directory), Reader("accept-all", directory, "accept"),
            Reader("accept-all behind the chain FLOWOS", directory, "accept", chain=True),
            FlowOS("counter", directory, COUNTER), FlowOS("adblock", directory, ADBLOCK),
            Proxy("nginx as a proxy", directory, Proxy.plain))]
        contenders = []
        for suffix, words in (("kept", ()), ("new each", ("-H", "Connection: close"))):
            contenders += [bench.requests(box, path, row=f"{box.name}, {suffix}", words=words) for box in boxes]
        bench.turns(group, contenders)
    for suffix in ("kept", "new each"):
        group.ratio(f"accept-all, {suffix}", f"vanilla, {suffix}")
        group.ratio(f"accept-all behind the chain FLOWOS, {suffix}", f"accept-all, {suffix}")
        group.ratio(f"counter, {suffix}", f"accept-all, {suffix}", at_least=0.93)
        group.ratio(f"adblock, {suffix}", f"accept-all, {suffix}")
        group.ratio(f"nginx as a proxy, {suffix}", f"vanilla, {suffix}")
    return group


def latency(bench):
    """How much later one small request is answered, while nothing else goes on."""
    group = Group("latency", "one request of 1 KiB at a time", "us")
    path = bench.page(1024, distance=600)
    directory = bench.directory
    with contextlib.ExitStack() as stack:
        boxes = [stack.enter_context(box) for box in (
            Middlebox("vanilla", directory), Reader("accept-all", directory, "accept"),
            FlowOS("counter", directory, COUNTER), FlowOS("adblock", directory, ADBLOCK),
            Proxy("nginx as a proxy", directory, Proxy.plain))]
        bench.turns(group, [bench.questions(box, path) for box in boxes])
    for name in ("counter", "adblock"):
        group.ratio(f"{name}, p50", "accept-all, p50", at_most=1.15)
        group.ratio(f"{name}, p99", "accept-all, p99", at_most=1.3)
    return group


LOSSES = {"in front": ("server",), "behind": ("client",), "on both sides": ("client", "server")}


def loss(bench):
    """Transfers with edits, next to the same without, where 1 % of the frames is lost."""
    group = Group("loss", "page of 1 MiB, 20 ms there and back, 1 % loss; time of a transfer", "ms")
    path = bench.page(MIB)
    each = math.ceil(40 / bench.rounds)
    with contextlib.ExitStack() as stack:
        boxes = [stack.enter_context(box) for box in (
            FlowOS("nothing edits", bench.directory, COUNTER, emulated=True),
            FlowOS("adblock", bench.directory, ADBLOCK, emulated=True))]
        seeds = iter(range(1_000_000))

        def contender(box, place):
            def measure():
                for side, link in (("client", box.net.client_link), ("server", box.net.server_link)):
                    link.set({"delay": 0.005, "loss": 0.01 if side in LOSSES[place] else 0}, seed=next(seeds))
                times = [seconds * 1e3 for seconds in box.http("fetch", path, each, 1)["each"]]
                return {f"{box.name}, {place}": Sample(statistics.median(times), each=times)}
            return measure
        bench.turns(group, [contender(box, place) for place in LOSSES for box in boxes])
    for place, sides in LOSSES.items():
        # 0.9 of the throughput where 1 % is lost.
        bound = {"at_most": 1 / 0.9} if len(sides) == 1 else {}
        group.ratio(f"adblock, {place}", f"nothing edits, {place}", **bound)
    group.notes.append(f"medians of {each * bench.rounds} connections, {each} at a time; the spread is that of the rounds' medians")
    return group


def engine(bench):
    """The engine alone, without a network: memory of idle connections, and allocations per packet."""
    group = Group("engine", "the engine alone, driven without a network", "octets, or allocations")
    program = kit.ROOT / "Benchmarks" / ".build" / "release" / "EngineCost"

    for modules in ((), ("counter",), ("adblock",)):
        octets = float(kit.run([program, "idle", 200_000, *modules], timeout=120).stdout)
        name = f"octets an idle connection of 200,000, {' '.join(modules) or 'no module'}"
        group.series[name] = Series(name, [Sample(octets)])
        group.limit(name, at_most=1_024)
    for line in kit.run([program, "work"], timeout=120).stdout.splitlines():
        work, units, allocations = line.split("\t")
        name = f"allocations, {work}"
        group.series[name] = Series(name, [Sample(int(allocations) / int(units))])
        # What opens and closes connections, or keeps segments for which others must come first, may take memory; and in a
        # thousand packets a table may grow a few times.
        if not work.startswith(("connection", "out of order")):
            group.limit(name, at_most=0.005)
    return group


def pieces(bench):
    """How fast the engine alone does what it does, packet for packet."""
    group = Group("pieces", "the engine alone: pieces of work, by CPU time", "packets/s, or MiB/s")
    program = kit.ROOT / "Benchmarks" / ".build" / "release" / "EngineCost"

    def measure():
        samples = {}
        for line in kit.run([program, "rate"], timeout=120).stdout.splitlines():
            work, packets, octets, nanoseconds = line.split("\t")
            seconds = float(nanoseconds) / 1e9
            samples[f"{work}: packets/s"] = Sample(int(packets) / seconds)
            samples[f"{work}: MiB/s"] = Sample(int(octets) / MIB / seconds)
        return samples
    bench.turns(group, [measure])
    return group


# The last in MiB, past the end of sequence numbers.
GROWTH = {"connections": (1, 10, 100, 1_000, 10_000), "flows": (1, 10, 100, 1_000), "modules": (1, 2, 4, 8, 16),
          "edits": (1, 100, 10_000, 1_000_000), "transferred": (1, 100, 10_000)}


def growth(bench):
    """What a packet costs the engine, once there is much of something."""
    group = Group("growth", "the engine alone: a packet, once there are so many", "ns of CPU")
    program = kit.ROOT / "Benchmarks" / ".build" / "release" / "EngineCost"
    counts = [(what, count) for what, numbers in GROWTH.items() for count in numbers]

    def contender(what, count):
        def measure():
            return {f"{what}, {count}": Sample(float(kit.run([program, "grow", what, count], timeout=120).stdout))}
        return measure
    bench.turns(group, [contender(what, count) for what, count in counts])
    for what, numbers in GROWTH.items():
        # More modules have more to do; all else must not be felt.
        bound = {} if what == "modules" else {"at_most": 1.25}
        group.ratio(f"{what}, {numbers[-1]}", f"{what}, {numbers[0]}", **bound)
    return group


def ping(bench):
    """How long `flowctl ping` takes, from its start to its end."""
    group = Group("ping", "flowctl ping, the whole process", "ms")
    with kit.Topology() as net, daemon.Daemon(net, queues="0") as flowos:
        def measure():
            times = []
            for _ in range(20):
                began = time.monotonic()
                flowos.ctl("ping")
                times.append((time.monotonic() - began) * 1e3)
            return {"flowctl ping": Sample(statistics.median(times), each=times)}
        bench.turns(group, [measure])
    group.limit("flowctl ping", at_most=20)
    return group


ALL = {group.__name__: group for group in (
    stream, roads, figure4, packets, page, streams, gso, small, latency, loss, engine, pieces, growth, ping)}
