"""The records of lablet are read as they are written; what is not a record is named with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import LabError
from harness.traffic.control import server_log
from harness.traffic.records import parse, parse_tap, read, read_tap

HEADER = {
    "lblab": "probe",
    "version": 1,
    "mode": "udp",
    "to": "127.0.0.1:7777",
    "rate": 1000,
    "interval": 1000000,
    "flows": 1,
    "sources": ["127.0.0.1:52729"],
    "size": 100,
    "session": "7c0a138054ffdd28",
    "late": 2000000000,
    "started": 1545743041975,
    "receive_stamp": "SO_TIMESTAMPNS, converted",
    "scheduler": "other",
}
# As written by lablet on a loopback run.
RECORDS = """\
["b",1545748414726,0,"w1","default/x","672de2839639c557"]
["p",1545748414726,0,"127.0.0.1:52729"]
["r",0,1,1545748147942,20550,78241,167993,0]
["u",1545748414726,0,0,1,1,1,0,[]]
["u",1545748414800,0,0,1,9,6,1,[[3,4],[6,6]]]
["g",0,1545748147942,1545750147942,1]
["n",0,2,1545750147942]
["x",1545751147942,0,3,"EPERM"]
["e",1557802385088,0,1,"ECONNREFUSED",3,3,"127.0.0.1"]
["c",1557802385088,-1000000000]
["t",1555783664969,0,"connected","","127.0.0.1:37004",0]
["h",0,1,1556791954091,398537,775962,"ok",200,0,"127.0.0.1:37028"]
"""
END = (
    '{"end":{"at":1555772427113,"clock_steps":0,"cpu":691057000,"late_max":997006,"late_p50":28671,'
    '"late_p99":360447,"max_rss_kb":7672,"replies":9885,"sent":9885,"skipped":120,"socket_drops":0,'
    '"spacing_max":5899780,"spacing_p50":1015807,"spacing_p99":1703935,"stamps_replaced":1,'
    '"stopped_by":"duration","unsent":0}}\n'
)


def lines(text: str) -> list[str]:
    return [json.dumps(HEADER) + "\n", *text.splitlines(keepends=True)]


def test_every_kind_of_record_is_read() -> None:
    run = parse(lines(RECORDS + END))
    assert run.header.interval == 1_000_000
    assert run.header.sources == ("127.0.0.1:52729",)
    assert run.replies[0].received == 1545748147942 + 20550 + 78241 + 167993
    assert run.accounts[1].gaps == ((3, 4), (6, 6))
    assert run.accounts[1].received == 6
    assert run.own_gaps[0].skipped == 1
    assert run.unanswered[0].sequence == 2
    assert run.unsent[0].error == "EPERM"
    assert run.icmp_errors[0].offender == "127.0.0.1"
    assert run.clock_steps[0].step == -1_000_000_000
    assert run.connections[0].event == "connected"
    assert run.requests[0].outcome == "ok"
    assert run.backends[0].pod == "default/x"
    assert run.seen_as[0].address == "127.0.0.1:52729"
    assert run.end is not None
    assert run.end.spacing_p99 == 1703935
    assert run.end.stopped_by == "duration"


def test_a_killed_prober_leaves_a_readable_file(tmp_path: Path) -> None:
    path = tmp_path / "probe"
    path.write_text("".join(lines(RECORDS)) + '["r",0,2,1545')
    run = read(path)
    assert run.end is None
    assert len(run.replies) == 1


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("not json\n", 2, "not JSON"),
        ('["q",1]\n', 2, "unknown kind"),
        ('["r",1]\n', 2, "unknown kind or length"),
        ("[]\n", 2, "unknown kind"),
        ('{"start":1}\n', 2, "neither a record nor the end"),
        ('{"end":{"at":1}}\n', 2, "lacks"),
    ],
)
def test_what_is_no_record_is_named_with_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(LabError, match=says) as caught:
        parse(lines(text), name="out")
    assert (caught.value.file, caught.value.line) == ("out", line)


@pytest.mark.parametrize(
    "head",
    [
        {},
        {**HEADER, "lblab": "tap"},
        {**HEADER, "version": 2},
        {key: value for key, value in HEADER.items() if key != "late"},
    ],
)
def test_a_foreign_header_is_refused(head: dict[str, object]) -> None:
    with pytest.raises(LabError):
        parse([json.dumps(head) + "\n"])


def test_nothing_is_no_run() -> None:
    with pytest.raises(LabError, match="no probe has started"):
        parse([])
    with pytest.raises(LabError, match="no tap has started"):
        parse_tap([])


def test_a_tap_says_what_it_missed(tmp_path: Path) -> None:
    head = {"lblab": "tap", "version": 1, "iface": "eth0", "started": 5}
    text = (
        json.dumps(head)
        + '\n["a",6,"eth0","in","up","aa",0,"10.0.0.1:4000","10.0.0.2:7777"]\n["k",6,"eth0","in","up","aa",0,17]\n'
    )
    path = tmp_path / "tap"
    path.write_text(text)
    tap = read_tap(path)
    assert (tap.lost, tap.end) == (None, None)
    assert tap.passages[0].sequence == 17
    assert tap.paths[0].destination == "10.0.0.2:7777"
    path.write_text(text + '{"end":{"at":9,"beyond_max":2,"dropped":3,"logged":1}}\n')
    assert read_tap(path).lost == 5
    path.write_text(text + '{"end":{"at":9,"beyond_max":2,"dropped":-1,"logged":1}}\n')
    assert read_tap(path).lost is None  # the kernel did not say


def test_a_servers_log_is_read() -> None:
    answer = {
        "flows": [
            {
                "session": "0000000000000009",
                "flow": 5,
                "peer": "127.0.0.1:2",
                "moves": 1,
                "first": 1,
                "highest": 7,
                "count": 4,
                "duplicates": 1,
                "reordered": 0,
                "forgotten": 0,
                "first_ns": 1,
                "last_ns": 9,
                "gaps": [{"from": 3, "to": 5, "before_ns": 2, "after_ns": 6}],
            }
        ],
        "instance": "2a",
        "node": "w",
        "pod": "d/p",
        "now_ns": 10,
    }
    log = server_log(answer)
    assert log.flows[0].gaps == ((3, 5),)
    assert log.instance == "2a"
