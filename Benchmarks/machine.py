"""The machine that the bench runs on: what it is, and how busy it is as a whole."""

import os
import pathlib
import platform
import statistics
import time

_TICK = os.sysconf("SC_CLK_TCK")


def busy_seconds():
    """CPU seconds that all cores together have spent so far on anything at all, interrupts and other programs included."""
    fields = pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _idle, _iowait, interrupts, soft_interrupts, stolen = (int(field) for field in fields[:8])
    return (user + nice + system + interrupts + soft_interrupts + stolen) / _TICK


def load_of_others(seconds=0.3):
    """How many cores are busy while the bench does nothing."""
    began, busy = time.monotonic(), busy_seconds()
    time.sleep(seconds)
    return (busy_seconds() - busy) / (time.monotonic() - began)


def description():
    """What a reader of the figures has to know about it."""
    model = next((line.split(":", 1)[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown CPU")
    return {"cores": os.cpu_count(), "cpu": model, "kernel": platform.release(), "date": time.strftime("%Y-%m-%d %H:%M")}


class Rest:
    """Notes how busy the machine is while the bench is at rest."""

    def __init__(self):
        self.loads = []

    def look(self):
        self.loads.append(load_of_others())

    @property
    def median(self):
        return statistics.median(self.loads) if self.loads else 0.0
