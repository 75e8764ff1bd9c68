"""Captures in the classic format of libpcap, read by few lines of our own."""

import pathlib
import struct

DIRECTORY = pathlib.Path(__file__).resolve().parents[1] / "Captures"

_ETHERNET, _COOKED, _LOOPBACK = 1, 113, 0
_MAGIC = {b"\xd4\xc3\xb2\xa1": "<", b"\x4d\x3c\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">", b"\xa1\xb2\x3c\x4d": ">"}


def frames(path):
    """The link type, and the octets of each frame."""
    data = pathlib.Path(path).read_bytes()
    order = _MAGIC[data[:4]]
    link, = struct.unpack_from(order + "I", data, 20)
    found = []
    at = 24
    while at + 16 <= len(data):
        length, = struct.unpack_from(order + "I", data, at + 8)
        found.append(data[at + 16:at + 16 + length])
        at += 16 + length
    return link & 0xFFFF, found


def packet(link, frame):
    """The IP packet in a frame, without the padding of the link; None where there is none."""
    kind = None
    if link == _ETHERNET:
        at = 12
        while frame[at:at + 2] in (b"\x81\x00", b"\x88\xa8"):
            at += 4
        kind, frame = frame[at:at + 2], frame[at + 2:]
    elif link == _COOKED:
        kind, frame = frame[14:16], frame[16:]
    elif link == _LOOPBACK:
        frame = frame[4:]
    if kind not in (None, b"\x08\x00", b"\x86\xdd") or not frame:
        return None
    if frame[0] >> 4 == 4 and len(frame) >= 20:
        return frame[:max(20, struct.unpack_from("!H", frame, 2)[0])]
    if frame[0] >> 4 == 6 and len(frame) >= 40:
        return frame[:40 + struct.unpack_from("!H", frame, 4)[0]]
    return frame


def packets(path):
    """The IP packets of a capture, in their order."""
    link, found = frames(path)
    return [ip for frame in found if (ip := packet(link, frame)) is not None]
