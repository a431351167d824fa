"""Every format gives the same packets; a file that is cut off, damaged or none at all gets one sentence."""

from __future__ import annotations

import gc
import gzip
import random
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import capture_data as data
import pytest
from capture_data import CLIENT, GAME, NODE1, ROUTER, SECOND, START, VIP

from harness.capture import scan as scanning
from harness.capture.reader import CHUNK, Capture, Packet
from harness.capture.scan import scan
from harness.capture.seen import Seen, Stream
from harness.cli import app
from harness.diagnose.decide import diagnose
from harness.diagnose.load import Given, load
from harness.diagnose.observed import Observations
from harness.errors import UserError

FORMATS: dict[str, Callable[[data.Packets], bytes]] = {
    "pcap-little-us": lambda packets: data.pcap(packets),
    "pcap-big-us": lambda packets: data.pcap(packets, order=">"),
    "pcap-little-ns": lambda packets: data.pcap(packets, nanoseconds=True),
    "pcap-big-ns": lambda packets: data.pcap(packets, order=">", nanoseconds=True),
    "pcapng-little-us": lambda packets: data.pcapng(packets),
    "pcapng-big-us": lambda packets: data.pcapng(packets, order=">"),
    "pcapng-little-ns": lambda packets: data.pcapng(packets, exponent=9),
}


def read(content: bytes, folder: Path) -> tuple[list[Packet], list[str]]:
    file = folder / "file.pcap"
    file.write_bytes(content)
    capture = Capture(file)
    return list(capture.read()), capture.problems


def only(seen: Seen) -> Stream:
    (stream,) = seen.streams.values()
    return stream


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_every_format_gives_the_same_packets(tmp_path: Path, write: Callable[[data.Packets], bytes]) -> None:
    packets = data.tiny()
    found, problems = read(write(packets), tmp_path)
    assert [(at, frame) for at, _, frame in found] == packets
    assert {link for _, link, _ in found} == {1}
    assert problems == []


def test_records_that_span_two_pieces(tmp_path: Path) -> None:
    frame = data.ethernet(NODE1, ROUTER, data.udp(CLIENT, 40001, VIP, GAME, size=1400))
    packets = [(START + number * 1000, frame) for number in range(2 * CHUNK // len(frame))]
    for write in FORMATS.values():
        found, _ = read(write(packets), tmp_path)
        assert len(found) == len(packets)
        assert found[-1][0] == packets[-1][0]


def links() -> dict[str, tuple[int, Callable[[bytes], bytes]]]:
    sll = struct.pack("!HHH6s2xH", 0, 1, 6, data.mac(ROUTER), 0x0800)
    sll2 = struct.pack("!HHIHBB6s2x", 0x0800, 0, 3, 1, 0, 6, data.mac(ROUTER))
    return {
        "ethernet": (1, lambda packet: data.ethernet(NODE1, ROUTER, packet)),
        "vlan": (1, lambda packet: data.ethernet(NODE1, ROUTER, packet, vlans=(130,))),
        "two vlans": (1, lambda packet: data.ethernet(NODE1, ROUTER, packet, vlans=(7, 130))),
        "cooked": (113, lambda packet: sll + packet),
        "cooked v2": (276, lambda packet: sll2 + packet),
        "raw": (101, lambda packet: packet),
        "loopback": (0, lambda packet: struct.pack("<I", 2) + packet),
    }


@pytest.mark.parametrize(("link", "frame"), links().values(), ids=links())
def test_every_link_type_gives_the_same_stream(tmp_path: Path, link: int, frame: Callable[[bytes], bytes]) -> None:
    times = [START + number * SECOND // 30 for number in range(90)]
    times = [at for at in times if not START + SECOND < at < START + 2 * SECOND]
    packets = [(at, frame(data.udp(CLIENT, 40001, VIP, GAME))) for at in times]
    found, _ = read(data.pcap(packets, link=link), tmp_path)
    stream = only(scan(found, longer_than=SECOND // 5))
    assert stream.key[1:] == (17, CLIENT, 40001, VIP, GAME)
    assert stream.count == len(times)
    assert [round((gap.end - gap.begin) / SECOND, 1) for gap in stream.gaps] == [1.0]
    assert stream.interval == pytest.approx(SECOND / 30, rel=0.01)


def test_ipv6_fragments_and_echo(tmp_path: Path) -> None:
    def echo(kind: int, source: str, target: str) -> bytes:
        return data.ethernet(NODE1, ROUTER, data.ip(source, target, 1, struct.pack("!BBHHH", kind, 0, 0, 77, 1)))

    later = bytearray(data.ethernet(NODE1, ROUTER, data.udp(CLIENT, 40001, VIP, GAME)))
    later[20:22] = b"\x00\x10"  # a fragment that is not the first: what stands at its ports is data
    frames = [
        data.ethernet(NODE1, ROUTER, data.udp("fd00::1", 40001, "fd00::2", GAME), 0x86DD),
        echo(8, CLIENT, VIP),
        echo(0, VIP, CLIENT),
        bytes(later),
    ]
    packets = [(START + number * SECOND, frame) for number in range(30) for frame in frames]
    found, _ = read(data.pcap(packets), tmp_path)
    seen = scan(found, longer_than=SECOND // 5)
    assert {key[1:] for key in seen.streams} == {
        (17, "fd00::1", 40001, "fd00::2", GAME),
        (1, CLIENT, 77, VIP, 0),
        (1, VIP, 0, CLIENT, 77),
    }
    # a packet each second is what it usually sends, and no row of lags
    assert all(stream.gaps == [] and stream.count == 30 for stream in seen.streams.values())


def test_a_change_of_next_hop_is_no_gap() -> None:
    def packet(number: int) -> Packet:
        to = NODE1 if number < 50 else data.NODE2
        return START + number * 33_000_000, 1, data.ethernet(to, ROUTER, data.udp(CLIENT, 40001, VIP, GAME))

    stream = only(scan(map(packet, range(100)), longer_than=SECOND // 5))
    assert stream.count == 100
    assert stream.gaps == []
    assert [(at - START, to) for at, _, to in stream.moves] == [(0, NODE1), (50 * 33_000_000, data.NODE2)]


def test_a_port_scan_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "MAX_STREAMS", 200)

    def packets() -> list[Packet]:
        game = data.ethernet(NODE1, ROUTER, data.udp(CLIENT, 40001, VIP, GAME))
        scanned = [data.ethernet(NODE1, ROUTER, data.udp(CLIENT, 1000 + n, VIP, n)) for n in range(2000)]
        return [(START + n * 1_000_000, 1, frame) for n in range(2000) for frame in (game, scanned[n])]

    seen = scan(packets(), longer_than=SECOND)
    assert len(seen.streams) <= 200
    assert seen.forgotten >= 1800
    kept = max(seen.streams.values(), key=lambda stream: stream.count)
    assert (kept.count, kept.key[5]) == (2000, GAME)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """What is in memory at once is a piece of the file and what is known of its streams."""
    frame = data.ethernet(NODE1, ROUTER, data.udp(CLIENT, 40001, VIP, GAME, size=200))
    file, number = tmp_path / "big.pcap", 16 * CHUNK // len(frame)
    file.write_bytes(data.pcap([(START + n * 1_000_000, frame) for n in range(number)]))
    gc.collect()
    tracemalloc.start()
    try:
        seen = scan(Capture(file).read(), longer_than=SECOND)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert only(seen).count == number
    assert peak < file.stat().st_size * 0.7, "two pieces, and what was cut out of them"


# -- files that are not what they should be -----------------------------------------------------------------


def diagnosed(path: Path) -> Observations | None:
    """Diagnose a file; None when it was refused with one sentence. Anything else is an error."""
    said = ""
    try:
        seen = load(Given([path]))
        diagnose(seen)
    except UserError as error:
        said = str(error)
    assert "\n" not in said
    return None if said else seen


def refused(path: Path) -> str:
    with pytest.raises(UserError) as error:
        load(Given([path]))
    assert error.value.exit_code == 2
    return str(error.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "the file is empty"),
        (b"hello, this is a diary\n", "neither a timeline of lblab nor a packet capture"),
        (gzip.compress(b"x"), "gunzip it first"),
        (b"PK\x03\x04 and so on", "unpack it first"),
        (b"\xd4\xc3\xb2\xa1\x02\x00", "ends within its header"),
        (data.pcap([]), "the capture has no packets"),
        (data.pcapng([]), "the capture has no packets"),
        (b'{"no": "event"}\n', ":1: this is no event of a timeline"),
        (b'{"at_ns": 1', "the timeline has no whole event"),
    ],
)
def test_what_is_no_recording(tmp_path: Path, content: bytes, says: str) -> None:
    file = tmp_path / "given"
    file.write_bytes(content)
    assert says in refused(file)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "missing.pcap")
    assert "directory" in refused(tmp_path)


@pytest.mark.parametrize("write", [FORMATS["pcap-little-us"], FORMATS["pcapng-big-us"]], ids=["pcap", "pcapng"])
def test_a_file_cut_off_anywhere(tmp_path: Path, write: Callable[[data.Packets], bytes]) -> None:
    """What is whole is used, and it is said that there was more; there is never a traceback."""
    packets = data.tiny()
    whole = write(packets)
    file = tmp_path / "cut.pcap"
    ends = 0
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        seen = diagnosed(file)
        if seen is None:
            continue
        said = [problem for problem in seen.problems if "cut off" in problem]
        ends += not said
        assert len(said) <= 1
    # only where it ends between two records it looks whole
    assert ends <= len(packets) + 1


def test_random_damage_gives_no_traceback(tmp_path: Path) -> None:
    dice = random.Random(8)
    file = tmp_path / "damaged.pcap"
    for write in FORMATS.values():
        whole = write(data.tiny())
        for _ in range(60):
            content = bytearray(whole)
            for _ in range(dice.randint(1, 12)):
                content[dice.randrange(len(content))] = dice.randrange(256)
            file.write_bytes(content)
            diagnosed(file)


def test_random_bytes_behind_a_header_give_no_traceback(tmp_path: Path) -> None:
    dice = random.Random(9)
    file = tmp_path / "random.pcap"
    for link in (1, 0, 101, 113, 276, 228, 147):
        packets = [(START + n, dice.randbytes(dice.randint(0, 90))) for n in range(200)]
        # headers that look right, with nonsense behind them
        packets += [
            (START + n, data.ethernet(NODE1, ROUTER, dice.randbytes(dice.randint(0, 60)), kind))
            for n in range(100)
            for kind in (0x0800, 0x86DD, 0x0806, 0x8100, 38, 0x8864)
        ]
        packets += [
            (
                START + n,
                data.ethernet(NODE1, ROUTER, data.ip(CLIENT, VIP, protocol, dice.randbytes(dice.randint(0, 50)))),
            )
            for n in range(100)
            for protocol in (1, 6, 17, 58)
        ]
        file.write_bytes(data.pcap(packets, link=link))
        diagnose(load(Given([file])))
    for magic in (b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\x3c\x4d", b"\x0a\x0d\x0d\x0a"):
        for _ in range(50):
            file.write_bytes(magic + dice.randbytes(dice.randint(0, 300)))
            diagnosed(file)


def test_the_command_ends_with_2_and_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "diary.txt"
    file.write_text("hello\n")
    with pytest.raises(UserError) as error:
        app(["diagnose", str(file)], standalone_mode=False)
    assert (error.value.exit_code, str(error.value).count("\n")) == (2, 0)
    with pytest.raises(UserError, match="nothing to diagnose"):
        app(["diagnose"], standalone_mode=False)
