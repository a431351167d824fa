"""Lines of every daemon's log: their stamps, what matters in them, and how a growing log is followed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness.timeline import logline
from harness.timeline.clock import WallClock
from harness.timeline.logs import LogFile, LogFolder
from harness.timeline.stamp import Stamp

SECOND = 1_000_000_000
#: 2026-11-23T02:41:23Z
MOMENT = int(datetime(2026, 11, 23, 2, 41, 23, tzinfo=UTC).timestamp()) * SECOND

CILIUM = (
    'time=2026-11-23T02:41:23.97495236Z level=info msg="Peer Down" module=bgp-control-plane instance=instance-64513 '
    "Topic=Peer Key=192.168.130.1 State=BGP_FSM_ESTABLISHED Reason=graceful-restart asn=64513 subsys=bgp-control-plane"
)
LOGRUS = 'time="2026-11-23T02:41:23Z" level=warning msg="Session \\"a\\" lost" subsys=bgp-control-plane'
NODE_AGENT = 'time=2026-11-23T02:41:23.774339Z now_ns=3660774677436 level=WARN msg="watch lost" path=/api/v1/pods'
FRR = "2026/11/23 02:41:23 BGP: [M59KS-A3ZXZ] bgp_update_receive: rcvd End-of-RIB for IPv4 Unicast from 10.0.0.2"
FRR_WARNING = "2026/11/23 02:41:23.123 BGP: [HX7DG-KW80N][EC 33554454] 10.0.0.2 [Error] bgp_read_packet error"
KLOG = 'W1123 02:41:23.122465     169 reflector.go:349] "Watch failed" err="connection refused"'
ETCD = '{"level":"warn","ts":"2026-11-23T02:41:23.466875Z","caller":"a.go:1","msg":"slow","error":"timed out"}'

METALLB = (
    '{"caller":"main.go:420","event":"serviceAnnounced","ips":["192.168.130.200"],"level":"info",'
    '"msg":"service has IP, announcing","pool":"servers","protocol":"layer2","ts":"2026-11-23T02:41:23Z"}'
)
MEMBERLIST = (
    '{"caller":"speakerlist.go:310","level":"info","msg":"node event - forcing sync","node addr":"192.168.130.152",'
    '"node event":"NodeLeave","node name":"worker2","ts":"2026-11-23T02:41:23Z"}'
)


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.mark.parametrize(
    ("line", "level", "text", "nanoseconds", "resolution"),
    [
        (CILIUM, "info", "Peer Down Key=192.168.130.1 Reason=graceful-restart", 974_952_360, 1000),
        (LOGRUS, "warning", 'Session "a" lost', 0, SECOND),
        (FRR, "info", "bgp_update_receive: rcvd End-of-RIB for IPv4 Unicast from 10.0.0.2", 0, SECOND),
        (FRR_WARNING, "warning", "10.0.0.2 [Error] bgp_read_packet error", 123_000_000, 1_000_000),
        (ETCD, "warning", "slow error=timed out", 466_875_000, 1000),
        (
            METALLB,
            "info",
            "service has IP, announcing ips=192.168.130.200 pool=servers protocol=layer2",
            0,
            SECOND,
        ),
        (MEMBERLIST, "info", "node event - forcing sync node-name=worker2 node-event=NodeLeave", 0, SECOND),
        (KLOG, "warning", '"Watch failed" err="connection refused"', 122_465_000, 1000),
    ],
    ids=["slog", "logrus", "frr", "frr warning", "json", "metallb", "memberlist", "klog"],
)
def test_lines_of_every_daemon(line: str, level: str, text: str, nanoseconds: int, resolution: int) -> None:
    found = logline.parse(line, datetime(2026, 11, 23, 2, 42, tzinfo=UTC))
    assert (found.level, found.text) == (level, text)
    assert found.realtime_ns == MOMENT + nanoseconds
    assert found.resolution_ns == resolution
    assert found.matters


def test_lblabs_own_programs_write_the_labs_clock() -> None:
    found = logline.parse(NODE_AGENT)
    assert found.monotonic_ns == 3660774677436
    assert found.resolution_ns == 1
    assert found.text == "watch lost path=/api/v1/pods"


def test_a_klog_line_of_last_year() -> None:
    found = logline.parse("E1231 23:59:59.000001 1 a.go:1] x", datetime(2027, 1, 1, 0, 0, 1, tzinfo=UTC))
    assert found.realtime_ns == int(datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()) * SECOND + 1000


@pytest.mark.parametrize(
    "line",
    [
        'time=2026-11-23T02:41:17Z level=info msg="Starting hive"',
        'time=2026-11-23T02:41:17Z level=warn msg="x is deprecated"',
        "2026/11/23 02:41:18 BGP: [JRVD7-XWK4H] 192.168.130.152 [Info] UPDATE for non-enabled AFI/SAFI 2/1",
        'I1123 02:41:17.263569     169 shared_informer.go:356] "Caches are synced"',
        "-z option overrides -N option for zebra named socket path",
        "{not json",
    ],
)
def test_routine_does_not_matter(line: str) -> None:
    assert not logline.parse(line).matters


def test_a_long_line_is_cut() -> None:
    assert len(logline.parse("time=x level=error msg=" + "y" * 5000).text) == 240


class Fixed:
    """A wall clock that is MOMENT at monotonic zero."""

    def __call__(self) -> WallClock:
        now = [0]

        def monotonic() -> int:
            return now[0]

        return WallClock(monotonic, lambda: MOMENT)


def read(path: Path, text: str, stamp: Stamp, log: LogFile | None = None) -> list[tuple[int, int, str]]:
    with path.open("a") as file:
        file.write(text)
    log = log or LogFile(path, "worker1/cilium-agent", Fixed()())
    return [(each.at_ns, each.resolution_ns, each.text) for each in log.events(log.added(), stamp)]


def test_a_fine_stamp_of_its_own_is_used(tmp_path: Path) -> None:
    [(at, resolution, text)] = read(tmp_path / "log", CILIUM + "\n", Stamp(2 * SECOND, 5))
    assert (at, resolution) == (974_952_360, 1000)
    assert text == "worker1/cilium-agent: Peer Down Key=192.168.130.1 Reason=graceful-restart"


def test_a_coarse_stamp_gives_way_to_the_moment_of_reading_that_agrees_with_it(tmp_path: Path) -> None:
    [(at, resolution, _)] = read(tmp_path / "log", LOGRUS + "\n", Stamp(300_000_000, 77))
    assert (at, resolution) == (300_000_000, 77)


def test_a_coarse_stamp_counts_when_the_line_was_read_much_later(tmp_path: Path) -> None:
    [(at, resolution, _)] = read(tmp_path / "log", LOGRUS + "\n", Stamp(9 * SECOND, 77))
    assert (at, resolution) == (SECOND, SECOND)


def test_half_a_line_waits_for_its_end(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log", "p", Fixed()())
    assert read(tmp_path / "log", CILIUM[:50], Stamp(0, 0), log) == []
    assert len(read(tmp_path / "log", CILIUM[50:] + "\n", Stamp(0, 0), log)) == 1


def test_a_flood_is_counted(tmp_path: Path) -> None:
    flood = "".join(f"time=2026-11-23T02:41:23.{n:03}Z level=error msg=no-{n}\n" for n in range(100))
    log = LogFile(tmp_path / "log", "p", Fixed()())
    assert len(read(tmp_path / "log", flood, Stamp(0, 0), log)) == 20
    later = read(tmp_path / "log", "time=2026-11-23T02:41:25.500001Z level=error msg=later\n", Stamp(0, 0), log)
    assert [text for _, _, text in later] == ["p: 80 more lines within the second before", "p: later"]


def test_only_chosen_logs_are_followed_and_what_is_there_is_read_first(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(CILIUM + "\n")
    folder = LogFolder(tmp_path, {"a.log": "a"}, Fixed()())
    assert [each.subject for each in folder.read(0)] == ["a"]
    (tmp_path / "b.log").write_text(CILIUM + "\n")
    assert folder.read(0) == []
    with (tmp_path / "a.log").open("a") as file:
        file.write(LOGRUS + "\n")
    assert [each.data["level"] for each in folder.read(0)] == ["warning"]
    folder.watch.close()


def test_a_later_recorder_does_not_tell_again_what_one_before_it_has_told(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(CILIUM + "\n")
    folder = LogFolder(tmp_path, {"a.log": "a"}, Fixed()())
    folder.skip()
    assert folder.read(0) == []
    with (tmp_path / "a.log").open("a") as file:
        file.write(LOGRUS + "\n")
    assert len(folder.read(0)) == 1
    folder.watch.close()
