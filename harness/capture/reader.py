"""A file of captured packets, whatever its format: opened, recognised, read packet by packet.

Own code where a library would do for a small file: dpkt 1.9.8 takes 2.8 us to read a record and 8.9 us to decode its
headers (measured on a 2-core VM), and a capture of 1 GB has ten million records. These readers take 0.6 us (classic)
and 1.2 us (pcapng), and `scan` less than 1 us on top.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from harness.errors import UserError

#: So much of a file is in memory at once, besides one record that spans two pieces.
CHUNK = 1 << 20
#: A record that claims to be longer is damage: tcpdump and Wireshark capture at most 256 KiB of a packet (libpcap's
#: MAXIMUM_SNAPLEN), and pcapng's blocks carry little more.
MAX_RECORD = 1 << 24
#: So many bytes of each packet are looked at: enough for two VLAN tags, IPv6 and the header that an ICMP error quotes,
#: or a BGP message's header.
LOOKED_AT = 192

#: (nanoseconds of the capture's clock, link type, the packet's first bytes).
Packet = tuple[int, int, bytes]
Progress = Callable[[int, int], None]

_HINT = "tcpdump -w writes such files, and so do Wireshark and OPNsense's Interfaces > Diagnostics > Packet Capture"
_FOREIGN = {
    b"\x1f\x8b": ("is compressed with gzip", "gunzip it first"),
    b"\x28\xb5\x2f\xfd": ("is compressed with zstd", "unzstd it first"),
    b"BZh": ("is compressed with bzip2", "bunzip2 it first"),
    b"\xfd7zXZ": ("is compressed with xz", "unxz it first"),
    b"PK\x03\x04": ("is a zip archive", "unpack it first: OPNsense puts one capture for each interface into it"),
    b"\xa1\xb2\xcd\x34": ("is a pcap of Kuznetzov's variant, which lblab does not read", "tshark -r IN -w OUT"),
    b"\x34\xcd\xb2\xa1": ("is a pcap of Kuznetzov's variant, which lblab does not read", "tshark -r IN -w OUT"),
    b"snoop\0\0\0": ("is a capture of Solaris' snoop", "editcap -F pcap IN OUT"),
}


@dataclass
class Pieces:
    """A file's bytes, piece by piece, with what is left of the piece before.

    Attributes:
        size: Of the file, bytes; 0 when it is a pipe.
        at: How many bytes were read.
    """

    file: BinaryIO
    size: int
    at: int = 0

    def more(self, rest: bytes = b"") -> bytes:
        """What is left and the next piece; only what is left at the end of the file."""
        piece = self.file.read(CHUNK)
        self.at += len(piece)
        return rest + piece if piece else rest


@dataclass
class Capture:
    """A capture that is being read; it can be read once.

    Attributes:
        path: The file.
        problems: What is wrong with the file, one sentence each; complete when all packets were read.
        packets: How many were read.
    """

    path: Path
    problems: list[str] = field(default_factory=list)
    packets: int = 0

    def read(self, progress: Progress | None = None) -> Iterator[Packet]:
        """Give every whole packet, in the file's order; arguments and errors are those of `pieces`."""
        return chain.from_iterable(self.pieces(progress))  # no Python between the reader and who takes the packets

    def pieces(self, progress: Progress | None = None) -> Iterator[list[Packet]]:
        """Yield every whole packet, those of each piece of the file together.

        Args:
            progress: Is called with (bytes read, bytes of the file) after each piece.

        Raises:
            UserError: when this is no capture at all; a capture that ends early, or is damaged, gives what is whole.
        """
        from harness.capture import pcap, pcapng

        try:
            with self.path.open("rb") as file:
                size = self.path.stat().st_size
                pieces = Pieces(file, size)
                head = pieces.more()
                begins = recognise(self.path, head)
                inside = pcapng if begins is pcapng.MAGIC else pcap
                for found in inside.packets(self, pieces, head, progress):
                    self.packets += len(found)
                    yield found
        except OSError as error:
            raise UserError(f"cannot be read: {error.strerror}", file=self.path) from error

    def ends_early(self, left: int, where: int) -> None:
        """Note that the file ends within a record."""
        self.problems.append(
            f"{self.path}: the file ends within a record, {left} bytes after byte {where - left}: the capture was cut"
            " off; what is whole is used"
        )

    def damaged(self, where: int, what: str) -> None:
        """Note that the file cannot be read on."""
        self.problems.append(f"{self.path}: damaged at byte {where}: {what}; what comes before is used")


def recognise(path: Path, head: bytes) -> bytes:
    """Say by its first bytes which format a file has.

    Raises:
        UserError: when it is none that lblab reads; says what it is instead, if that is known.
    """
    from harness.capture import pcap, pcapng

    if not head:
        raise UserError("the file is empty", file=path, hint="did the capture run, and as root?")
    if head.startswith(pcapng.MAGIC):
        return pcapng.MAGIC
    if head[:4] in pcap.MAGICS:
        if len(head) < pcap.HEADER:
            raise UserError(f"the file ends within its header, after {len(head)} bytes", file=path, hint=_HINT)
        return head[:4]
    for magic, (what, hint) in _FOREIGN.items():
        if head.startswith(magic):
            raise UserError(f"this {what}", file=path, hint=hint)
    raise UserError("this is neither a timeline of lblab nor a packet capture (pcap, pcapng)", file=path, hint=_HINT)
