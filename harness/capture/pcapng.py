"""pcapng files (draft-ietf-opsawg-pcapng): sections of blocks; each interface has its own link type and clock unit."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from harness.capture.reader import LOOKED_AT, MAX_RECORD

if TYPE_CHECKING:
    from harness.capture.reader import Capture, Packet, Pieces, Progress

#: A Section Header Block's type, the same in both byte orders.
MAGIC = b"\x0a\x0d\x0d\x0a"
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
#: Options of an interface: the unit of its stamps (a power of ten, or of two with the highest bit), and seconds to add.
_UNIT, _OFFSET = 9, 14
_BLOCK, _SECOND = 12, 1_000_000_000


@dataclass
class _Interface:
    link: int
    #: Nanoseconds in one unit as a fraction: (numerator, denominator).
    unit: tuple[int, int] = (1000, 1)
    offset_ns: int = 0


@dataclass
class _Section:
    order: str
    interfaces: list[_Interface] = field(default_factory=list)
    without_time: int = 0

    def __post_init__(self) -> None:
        self.block = struct.Struct(self.order + "2I").unpack_from
        self.enhanced = struct.Struct(self.order + "5I").unpack_from
        self.old = struct.Struct(self.order + "2H4I").unpack_from

    def interface(self, body: bytes) -> _Interface:
        link = struct.unpack_from(self.order + "H", body)[0]
        found, at = _Interface(link), 8
        while at + 4 <= len(body):
            code, length = struct.unpack_from(self.order + "2H", body, at)
            value = body[at + 4 : at + 4 + length]
            if code == _UNIT and length == 1:
                exponent = value[0] & 0x7F
                unit = Fraction(_SECOND, 2**exponent if value[0] & 0x80 else 10**exponent)
                found.unit = unit.numerator, unit.denominator
            elif code == _OFFSET and length == 8:
                found.offset_ns = int(struct.unpack(self.order + "q", value)[0]) * _SECOND
            elif code == 0:
                break
            at += 4 + (length + 3) // 4 * 4
        return found

    def packet(self, kind: int, data: bytes, at: int, end: int) -> Packet | None:
        """A packet block's packet; None when it belongs to no interface or is longer than its block."""
        if kind == _ENHANCED_PACKET:
            if end - at < 20:
                return None
            number, high, low, length, _ = self.enhanced(data, at)
        else:
            if end - at < 20:
                return None
            number, _, high, low, length, _ = self.old(data, at)
        begin = at + 20
        if number >= len(self.interfaces) or begin + length > end:
            return None
        interface = self.interfaces[number]
        numerator, denominator = interface.unit
        stamp = ((high << 32 | low) * numerator) // denominator + interface.offset_ns
        return stamp, interface.link, data[begin : begin + min(length, LOOKED_AT)]


def packets(capture: Capture, pieces: Pieces, data: bytes, progress: Progress | None) -> Iterator[list[Packet]]:
    """Yield the packets of a file whose first piece is given, piece by piece; it begins with MAGIC."""
    section: _Section | None = None
    at = 0
    unusable = 0
    while True:
        found: list[Packet] = []
        while len(data) - at >= _BLOCK:
            if data[at : at + 4] == MAGIC:
                order = _ORDERS.get(data[at + 8 : at + 12])
                if order is None:
                    capture.damaged(pieces.at - len(data) + at, "a section without a byte order")
                    yield found
                    return
                section = _Section(order)
            assert section is not None  # the file begins with MAGIC
            kind, length = section.block(data, at)
            if length < _BLOCK or length % 4 or length > MAX_RECORD:
                capture.damaged(pieces.at - len(data) + at, f"a block of {length} bytes")
                yield found
                return
            if at + length > len(data):
                break
            body, end = at + 8, at + length - 4
            if kind in (_ENHANCED_PACKET, _OLD_PACKET):
                packet = section.packet(kind, data, body, end)
                if packet is None:
                    unusable += 1
                else:
                    found.append(packet)
            elif kind == _INTERFACE and end - body >= 8:
                section.interfaces.append(section.interface(data[body:end]))
            elif kind == _SIMPLE_PACKET:
                unusable += 1
            at += length
        yield found
        if progress is not None:
            progress(pieces.at, pieces.size)
        rest = data[at:]
        data = pieces.more(rest)
        at = 0
        if len(data) == len(rest):
            break
    if rest:
        capture.ends_early(len(rest), pieces.at)
    if unusable:
        capture.problems.append(
            f"{capture.path}: {unusable} packets have no time or no interface (Simple Packet Blocks); they are left out"
        )
