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


def checksum(data):
    """The Internet checksum (RFC 1071); 0 over what has a right one."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def is_sound(ip):
    """Whether the checksums of an IP packet are right; true for what has none, and for what is malformed or no packet."""
    if ip[0] >> 4 == 4 and len(ip) >= 20:
        head = (ip[0] & 0xF) * 4
        total, = struct.unpack_from("!H", ip, 2)
        kind, ends = ip[9], ip[12:20]
        if head < 20 or not head <= total <= len(ip):
            return True
        is_part = struct.unpack_from("!H", ip, 6)[0] & 0x3FFF
        payload = ip[head:total]
    elif ip[0] >> 4 == 6 and len(ip) >= 40:
        head, kind, ends, is_part = 40, ip[6], ip[8:40], 0
        payload = ip[40:40 + struct.unpack_from("!H", ip, 4)[0]]
        if len(payload) != struct.unpack_from("!H", ip, 4)[0]:
            return True
    else:
        return True
    least = {6: 20, 17: 8, 1: 8, 58: 8}.get(kind)
    if not is_part and least:
        if len(payload) < least:
            return True
        if kind == 6 and not 20 <= payload[12] >> 4 << 2 <= len(payload):
            return True
        if kind == 17:
            length, given = struct.unpack_from("!HH", payload, 4)
            if not 8 <= length <= len(payload):
                return True
            payload = payload[:length]
            if given == 0 and len(ends) == 8:
                kind = None
        # ICMP of IPv4 has no pseudo-header; that of the other family is no ICMP.
        covered = payload if kind == 1 else ends + struct.pack("!IHBB", len(payload), 0, 0, kind or 0) + payload
        if kind and (kind, len(ends)) not in ((1, 32), (58, 8)) and checksum(covered) != 0:
            return False
    return len(ends) == 32 or checksum(ip[:head]) == 0
