"""What a router's log and kubectl's output tell, alone and beside a capture."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import capture_data as data
import pytest
from capture_data import SECOND, START, Scene

from harness.diagnose import kubectl, logs
from harness.diagnose.decide import diagnose
from harness.diagnose.load import Given, load
from harness.diagnose.observed import Sees, What
from harness.errors import UserError
from harness.lag.mechanisms import Mechanism
from harness.report import diagnosis as report

NOON = int(datetime(2024, 3, 12, 12, tzinfo=UTC).timestamp()) * SECOND


def moved(at: str, before: str, after: str) -> str:
    said = f"arp: {data.VIP} moved from {before} to {after} on vlan01"
    return f"<6>1 2024-03-12T{at}+00:00 OPNsense kernel - - [meta] {said}\n"


@pytest.mark.parametrize(
    ("line", "what", "about"),
    [
        (f"arp: {data.VIP} moved from {data.NODE1} to {data.NODE2} on igb1", What.MOVED, data.VIP),
        (f"arp: {data.STRANGER} attempts to modify permanent entry for {data.VIP} on igb1", What.CONFLICT, data.VIP),
        (f"arp: {data.STRANGER} is using my IP address {data.GATEWAY} on igb1!", What.CONFLICT, data.GATEWAY),
        (f"arpresolve: can't allocate llinfo for {data.VIP} on igb1", What.UNRESOLVED, data.VIP),
        ("igb1: link state changed to DOWN", What.LINK_DOWN, "igb1"),
        ("bgpd[1]: %ADJCHANGE: neighbor 192.168.130.151(worker1) in vrf default Up", What.PEER_UP, "192.168.130.151"),
        ("bgpd[1]: %ADJCHANGE: neighbor 192.168.130.151 in vrf default Down x", What.PEER_DOWN, "192.168.130.151"),
        ('{"level":"info","msg":"memberlist: Suspect node1 has failed, no acks received"}', What.SUSPECTED, "node1"),
        ("memberlist: Marking node1 as failed, suspect timeout reached", What.SUSPECTED, "node1"),
    ],
)
def test_sentences_of_a_router(line: str, what: What, about: str) -> None:
    seen = logs.observe([f"2024-03-12T12:00:01+00:00 opnsense kernel: {line}\n"], "log", NOON)
    (sign,) = seen.signs
    assert (sign.what, sign.about, sign.at) == (what, about, NOON + SECOND)
    assert seen.problems == []


def test_stamps_without_year_or_zone() -> None:
    new_year = int(datetime(2025, 1, 1, 0, 10).timestamp()) * SECOND  # local, as the log is
    at, zone = logs.stamp("Dec 31 23:59:59 opnsense kernel: ...", new_year)
    assert at is not None
    assert (new_year - at, zone) == (601 * SECOND, False)
    assert logs.stamp("no stamp at all", NOON) == (None, False)
    seen = logs.observe(
        [f"Mar 12 12:00:00 opnsense kernel: arp: {data.VIP} moved from {data.NODE1} to {data.NODE2} on x"], "log", NOON
    )
    assert "no time zone" in seen.problems[0]


def test_a_log_that_says_nothing(tmp_path: Path) -> None:
    seen = logs.observe(["2024-03-12T12:00:00Z dhcpd: DHCPACK\n"], "system.log", NOON)
    assert "no line of it is about ARP" in seen.problems[0]


def test_a_router_log_alone_tells_visits(tmp_path: Path) -> None:
    """What the author of the guide could have seen: two lines each twenty minutes, thirty seconds apart."""
    file = tmp_path / "system.log"
    lines = []
    for visit in range(4):
        minute = 20 * visit + 10
        lines.append(moved(f"{12 + minute // 60}:{minute % 60:02}:00", data.NODE1, data.NODE2))
        lines.append(moved(f"{12 + minute // 60}:{minute % 60:02}:30", data.NODE2, data.NODE1))
    file.write_text("".join(lines))
    (found,) = diagnose(load(Given([], logs=[file])))
    assert found.address == data.VIP
    assert [round(each.episode.length / SECOND) for each in found.findings] == [30] * 4
    assert found.period is not None
    assert found.period.seconds == 1200
    assert found.mechanism is Mechanism.TWO_ANNOUNCERS
    assert any("came back" in each or "is with" in each for each in found.ranking[0].evidence)


def objects() -> list[dict[str, object]]:
    return [
        {
            "kind": "Lease",
            "metadata": {"name": "cilium-l2announce-default-game"},
            "spec": {"holderIdentity": "b", "leaseTransitions": 2, "acquireTime": "2024-03-12T12:00:05.000000Z"},
        },
        {"kind": "Lease", "metadata": {"name": "kube-scheduler"}, "spec": {"acquireTime": "2024-03-12T12:00:05Z"}},
        {
            "kind": "Event",
            "reason": "nodeAssigned",
            "message": 'announcing from node "a" with protocol "layer2"',
            "involvedObject": {"kind": "Service", "name": "game"},
            "lastTimestamp": "2024-03-12T12:00:01Z",
        },
        {
            "kind": "Pod",
            "metadata": {"name": "speaker-x7"},
            "spec": {"nodeName": "a"},
            "status": {
                "containerStatuses": [
                    {
                        "name": "speaker",
                        "lastState": {"terminated": {"finishedAt": "2024-03-12T12:00:02Z", "reason": "OOMKilled"}},
                    }
                ]
            },
        },
        {
            "kind": "Node",
            "metadata": {"name": "a"},
            "status": {
                "addresses": [{"type": "InternalIP", "address": "192.168.130.151"}],
                "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": "2024-03-12T12:00:03Z"}],
            },
        },
        {"kind": "Secret", "metadata": None},
    ]


def test_what_kubectl_tells() -> None:
    seen = kubectl.observe([{"kind": "List", "items": objects()}], "all.json")
    told = [((sign.at - NOON) // SECOND, sign.what) for sign in seen.signs]
    assert told == [(1, What.LEADER), (2, What.ENDED), (3, What.NODE_DOWN), (5, What.LEASE)]
    assert "OOMKilled" in seen.signs[1].text
    assert seen.node_addresses == {"192.168.130.151": "a"}
    assert seen.sees == {Sees.LEASES, Sees.METALLB}


def test_kubectl_as_yaml_and_what_is_none(tmp_path: Path) -> None:
    capture = tmp_path / "a.pcap"
    capture.write_bytes(data.pcap(Scene().run(10).sorted()))
    file = tmp_path / "objects.yaml"
    file.write_text(
        "kind: Node\nmetadata: {name: node1}\nstatus:\n  addresses: [{type: InternalIP, address: 192.168.130.151}]\n"
    )
    seen = load(Given([capture], kubectl=[file]))
    assert seen.nodes == {"node1"}
    assert seen.hosts[data.NODE1] == "node1"
    for content, says in (("{", "no whole JSON"), ("- 1\n- 2\n", "no Kubernetes object"), ("a: [", "not valid YAML")):
        file.write_text(content)
        with pytest.raises(UserError, match=says):
            load(Given([capture], kubectl=[file]))
    file.write_text(json.dumps({"kind": "List", "items": [{"kind": "Secret", "metadata": {"name": "x"}}]}))
    assert "it has Secret" in load(Given([capture], kubectl=[file])).problems[0]


def test_a_stalled_speaker_is_told_by_its_pod(tmp_path: Path) -> None:
    capture, file = tmp_path / "a.pcap", tmp_path / "pods.json"
    capture.write_bytes(data.pcap(data.speaker_stall().sorted()))
    ended = datetime.fromtimestamp(START / SECOND + 85, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    pod = objects()[3]
    pod["status"] = {"containerStatuses": [{"name": "speaker", "lastState": {"terminated": {"finishedAt": ended}}}]}
    file.write_text(json.dumps(pod))
    (found,) = diagnose(load(Given([capture], kubectl=[file])))
    assert found.mechanism is Mechanism.SPEAKER_STALL
    assert any("speaker-x7" in each for each in found.ranking[0].evidence)


def test_a_timeline_has_a_clock_of_its_own(tmp_path: Path) -> None:
    timeline, capture = tmp_path / "t.jsonl", tmp_path / "a.pcap"
    timeline.write_text('{"at_ns":1,"source":"x","kind":"y","subject":"z","text":"","resolution_ns":0}\n')
    capture.write_bytes(data.pcap(Scene().run(1).sorted()))
    with pytest.raises(UserError, match="a clock of its own"):
        load(Given([timeline, capture]))


def test_the_report_names_evidence_and_what_to_record(tmp_path: Path) -> None:
    file = tmp_path / "a.pcap"
    file.write_bytes(data.pcap(data.lease_lost().sorted()))
    seen = load(Given([file]))
    found = diagnose(seen)
    text = report.render(seen, found, details=True)
    assert "It cannot be told from this recording." in text
    assert f"tcpdump -ni INTERFACE -s 192 -w nodes.pcap 'host {data.VIP} or arp or icmp'" in text
    assert "did the router begin to send to another MAC when it ended? yes" in text
    page = report.html(seen, found)
    assert "it cannot be told" in page
    assert "to send to another MAC when it ended?" in page
    facts = json.loads(json.dumps(report.facts(seen, found)))
    (one,) = facts["addresses"]
    assert one["mechanism"] is None
    assert one["lags"][0]["seconds"] == pytest.approx(16, abs=0.5)
