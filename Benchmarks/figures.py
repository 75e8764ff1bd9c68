"""The paper's figures 4, 5 and 6, and some of our own, drawn from what was measured."""

import plot
from groups import GROWTH, PACKET_SIZES, STREAMS


def _bar(series, name, kind, label=None):
    return (label or name, series[name].median, series[name].spread, kind)


def _bars(series, names, kinds):
    return [_bar(series, name, kind) for name, kind in zip(names, kinds) if name in series]


def _foot(machine):
    return f"{machine['cores']} cores, Linux {machine['kernel']}, {machine['date']}; lines: least and greatest of the rounds."


def draw(groups, machine):
    """SVG by file name, of those groups that are there. groups: by name."""
    foot = _foot(machine)
    figures = {}

    if "stream" in groups:
        names = ("vanilla", "accept-all", "one reader", "two readers in sequence", "two readers in one stage",
                 "reader on a thread", "replace that never matches")
        figures["stream.svg"] = plot.bars(
            "One stream through modules that leave it as it is", "MiB/s",
            _bars(groups["stream"].series, names, ("kernel", "reference") + 5 * ("flowos",)), caption=[foot])
    if "figure4" in groups and groups["figure4"].series:
        names = ("vanilla", "mangle-all", "nat", "ipchecksum, then nat", "ipchecksum beside nat")
        figures["figure4.svg"] = plot.bars(
            "Figure 4: nat alone, in sequence, and in one stage; TCP", "MiB/s",
            _bars(groups["figure4"].series, names, ("kernel", "reference") + 3 * ("flowos",)), caption=[
                "The paper reports, on gigabit links, no noticeable overhead for one module, and the same rate for two in",
                "sequence and for two at once.", foot])
    if "packets" in groups:
        series = groups["packets"].series
        names = [name for name in ("vanilla", "accept-all", "nat", "ipchecksum, then nat", "ipchecksum beside nat")
                 if f"{name}, {PACKET_SIZES[0]} octets" in series]
        rows = [(name, [series[f"{name}, {size} octets"].median for size in PACKET_SIZES],
                 [series[f"{name}, {size} octets"].spread for size in PACKET_SIZES]) for name in names]
        missing = groups["packets"].notes
        figures["figure4-packets.svg"] = plot.lines(
            "Figure 4: throughput by size of packet, UDP", "Mbit/s", PACKET_SIZES, rows, axis="octets in a packet",
            caption=["The paper reports, on gigabit links and from 64 to 1500 octets, no noticeable overhead for one module, two in",
                     "sequence, and two at once.", *missing, foot])
    if "streams" in groups:
        series = groups["streams"].series
        rows = []
        for name in ("adblock", "mangle-all"):
            pairs = [[a / b for a, b in zip(series[f"{name}, {count}"].values, series[f"vanilla, {count}"].values)]
                     for count in STREAMS]
            rows.append((name, [sorted(ratios)[len(ratios) // 2] for ratios in pairs],
                         [(min(ratios), max(ratios)) for ratios in pairs]))
        figures["figure5.svg"] = plot.lines(
            "Figure 5: adblock on several streams at once", "throughput as a multiple of vanilla forwarding", STREAMS, rows,
            axis="streams", caption=[
                "The paper reports that the throughput falls as streams are added, since every packet behind an edit is",
                "renumbered and its checksum computed anew. 256 MiB in all, an ad every 12 kB.", foot])
    if "gso" in groups:
        figures["figure6.svg"] = plot.bars(
            "Figure 6: packets whole, and cut", "MiB/s",
            [_bar(groups["gso"].series, name, name.rsplit(", ", 1)[1]) for name in groups["gso"].series], caption=[
                "The paper has no scatter/gather I/O: it makes each packet contiguous with skb_linearize(), which by itself slows",
                "vanilla forwarding to 3.50 Gbit/s on its 10G links; FlowOS takes a little more. Here NFQUEUE hands over whole",
                "packets of segmentation offload; readers that cannot take them pay for the cutting.", foot])
    if "growth" in groups:
        series = groups["growth"].series
        counts = sorted({count for numbers in GROWTH.values() for count in numbers})
        rows = []
        for what, numbers in GROWTH.items():
            each = [series[f"{what}, {count}"] if count in numbers else None for count in counts]
            rows.append((what, [one and one.median for one in each], [one and one.spread for one in each]))
        figures["growth.svg"] = plot.lines(
            "What a packet costs the engine, once there is much of something", "nanoseconds of CPU", counts, rows,
            axis="connections, flows, modules, edits before, or MiB before", caption=[
                "Half of the packets carry 1,400 octets, half acknowledge them. Modules have to look at every octet, one after the",
                "other; all else is to be flat.", foot])
    if "page" in groups:
        series = groups["page"].series
        figures["page.svg"] = plot.bars(
            "HTML page of 64 MiB with ads", "MiB/s",
            [_bar(series, name, "flowos" if name.startswith("adblock") else "proxy" if "nginx" in name or "mitm" in name
                  else "kernel") for name in series], caption=[foot])
    return figures
