#!/usr/bin/env python3
"""Writes the seed corpus: short scripts for FuzzEngine, spelt as its tape (see World.swift). Usage: make-seeds.py DIRECTORY"""

import pathlib
import sys

GIVE = [1]  # Not stashed, ...
FEED = [0]  # ... and into buffer 0.


def opening(index, window=20_000):
    return [0x10, 0, 0x20, 0] + ([] if index == 0 else [window >> 8, window & 255]) + [1] + FEED * 2 + GIVE + FEED


def begin(options=0, window=20_000):
    return [options] + [octet for index in range(4) for octet in opening(index, window)]


def send(connection, path=0, length=3, more=0):
    return [0, connection, path, length, more] + GIVE + FEED


def stashed(connection, path=0, length=3):
    return [0, connection, path, length, 0, 0]


def retransmit(connection, path=0, back=0, ahead=0, length=3):
    return [3, connection, path, back, ahead, length] + GIVE + FEED


def acknowledge(connection, path=1, window=4):
    return [4, connection, path, window] + GIVE + FEED


def finish(connection, path=0):
    return [6, connection, path] + GIVE + FEED


def lose(count):
    return [7, count]


def release(*order):
    return [8] + list(order)


def wait(hundreds):
    return [9, hundreds, 100]


def attach_editor(*rules, hold=0, at=0):
    """Rules are (octet, index of the length of what replaces it)."""
    return [10, 2, 2, len(rules)] + [octet for number, length in rules for octet in (length, number, 7)] + [hold, at]


def attach_holder(at=0):
    return [10, 2, 0, at]


def attach_lingerer(at=0):
    return [10, 2, 1, at]


def attach(kind, at=0):
    """Kinds: 5 and 6 for packets, 7 leaves, 8 and 9 on threads."""
    return [10, 2, kind] + ([0, 0] if kind == 8 else []) + [at]


def work(thread=0):
    return [15, 4, thread]


def kill(connection):
    return [15, 5, connection - 1]


def leave():
    return [10, 5, 0]


def move(index, to):
    return [10, 4, index, to]


def detach(index=0):
    return [10, 0, index]


def forge(connection, path=0, base=1, near=32, length=3, flags=0):
    return [11, connection - 1, path, base, near, length, 0, flags, 3, 1] + FEED


def forge_numbers(connection, path=0, sequence=2, acknowledgement=2):
    return [14, connection - 1, path, sequence, 1, acknowledgement, 1, 0, 0, 0, 3, 2] + FEED


shrink = attach_editor((1, 0), (2, 0))
grow = attach_editor((1, 6))
mixed = attach_editor((1, 0), (2, 5), (3, 4))

SEEDS = {
    "plain": begin() + send(0) + acknowledge(0) + send(0, 1) + acknowledge(0, 0) + finish(0) + finish(0, 1),
    "shrink": begin() + shrink + (send(0) + acknowledge(0)) * 4 + finish(0),
    "grow": begin() + grow + (send(0, length=4) + acknowledge(0)) * 4 + finish(0),
    "super-packets": begin(4) + mixed + (send(0, length=4) + acknowledge(0)) * 3,
    "loss": begin() + mixed + send(0) + lose(2) + send(0) + send(0) + acknowledge(0) + retransmit(0) + wait(10),
    "reordering": begin() + mixed + stashed(0) + send(0) + send(0) + release(0) + FEED + acknowledge(0),
    "unread": begin() + stashed(0) + send(0) + mixed + send(0) + release(0) + FEED + acknowledge(0) + send(0),
    "held": begin() + attach_holder() + send(0, length=2) + wait(1) + wait(1) + send(0, length=2) + wait(20),
    "live": begin() + mixed + send(0) + attach_lingerer() + send(0) + detach() + send(0) + detach() + send(0) + acknowledge(0),
    "closed-window": begin(window=100) + grow + send(1, length=2) + acknowledge(1, window=0) + send(1, length=0) + wait(50),
    "little-memory": begin(1) + grow + send(0, length=4) * 4 + acknowledge(0) + wait(10),
    "forged": begin() + mixed + send(1) + forge(1) + forge(1, flags=3, length=0) + forge(1, base=5) + send(1),
    "behind-the-end": begin() + mixed + finish(1) + forge(1) + retransmit(1) + forge(1, base=0, near=30),
    "far-numbers": begin() + send(1) + forge_numbers(1) + forge_numbers(1, 1) + forge_numbers(1, 0, 0, 3) + send(1),
    "packets": begin() + attach(5) + attach(6) + mixed + (send(0) + acknowledge(0)) * 3 + finish(0),
    "threads": begin() + attach(9) + attach_editor((1, 2)) + (send(0) + work() + acknowledge(0)) * 3 + detach() + work() + send(0),
    "leaving": begin() + attach(7) + (send(0) + acknowledge(0) + send(0, 1) + acknowledge(0, 0)) * 2 + leave() + (
        send(0) + acknowledge(0) + send(0, 1) + acknowledge(0, 0)) * 3,
    "moved": begin() + mixed + attach_holder() + attach(8) + send(0) + move(0, 2) + send(0) + work() + move(1, 0) + send(0) + wait(9),
    "killed": begin() + mixed + send(1) + kill(1) + send(1) + forge(2) + kill(2),
    "port-reuse": begin() + mixed + send(1) + forge(1, flags=9, base=1, length=0) + [15, 0, 0] + opening(1) + send(1),
}

directory = pathlib.Path(sys.argv[1])
directory.mkdir(parents=True, exist_ok=True)
for name, script in SEEDS.items():
    (directory / name).write_bytes(bytes(script))
