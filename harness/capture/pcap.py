"""Classic pcap files (draft-ietf-opsawg-pcap): a header of 24 bytes, then a header of 16 before each packet."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.capture.reader import LOOKED_AT, MAX_RECORD

if TYPE_CHECKING:
    from harness.capture.reader import Capture, Packet, Pieces, Progress

HEADER, _RECORD = 24, 16
#: Byte order and nanoseconds in one unit of the stamps' fraction, by the file's first four bytes.
MAGICS = {
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
#: The upper bits of the link type's field tell of a frame check sequence.
_LINK_TYPE = 0xFFFF
_SECOND = 1_000_000_000


def packets(capture: Capture, pieces: Pieces, data: bytes, progress: Progress | None) -> Iterator[list[Packet]]:
    """Yield the packets of a file whose first piece is given, piece by piece; it is longer than the header."""
    order, unit = MAGICS[data[:4]]
    link = struct.unpack_from(order + "I", data, 20)[0] & _LINK_TYPE
    record = struct.Struct(order + "4I").unpack_from
    at = HEADER
    while True:
        found: list[Packet] = []
        end = len(data) - _RECORD
        while at <= end:
            seconds, fraction, length, _ = record(data, at)
            follows = at + _RECORD + length
            if follows > len(data):
                if length > MAX_RECORD:
                    capture.damaged(pieces.at - len(data) + at, f"a packet of {length} bytes")
                    yield found
                    return
                break
            begin = at + _RECORD
            found.append((seconds * _SECOND + fraction * unit, link, data[begin : min(follows, begin + LOOKED_AT)]))
            at = follows
        yield found
        if progress is not None:
            progress(pieces.at, pieces.size)
        rest = data[at:]
        data = pieces.more(rest)
        at = 0
        if len(data) == len(rest):
            if rest:
                capture.ends_early(len(rest), pieces.at)
            return
