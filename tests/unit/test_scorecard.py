"""The scorecard's arithmetic, its table, and the site that it makes of a topology."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from harness import manifests
from harness.cilium import api, semver
from harness.errors import UserError
from harness.metallb.election import leader
from harness.report import scorecard as report
from harness.scorecard import saved
from harness.scorecard.model import CILIUM_BGP, CILIUM_BGP_GR, CILIUM_L2, COLUMNS, METALLB_L2, Cell, Row, Run, Score
from harness.scorecard.site import l2_policy, write
from harness.testing import score as at_the_end
from harness.timeline import journal
from harness.timeline.event import FAULT, Event
from harness.topology import load
from harness.verdict.predict import Prediction

ROOT = Path(__file__).parents[2]
CONDITIONS = {
    "nodes": 2,
    "topology": "small",
    "cilium": "1.20.2",
    "metallb": None,
    "router_arp": "linux",
    "timers": {"hold_s": 3, "restart_s": 6, "lease_s": 5},
    "runs": 3,
    "flows": 12,
    "rate": 50,
    "backend": "netns",
    "quickened": [],
    "stand_ins": [],
}


def run(outage_ms: float, *, trusted: bool = True, timeline: str | None = None) -> Run:
    return Run(outage_ms, 20, int(outage_ms / 20), 0.5, trusted, () if trusted else ("busy",), timeline)


def cell(*outages: float, prediction: Prediction | None = None) -> Cell:
    return Cell([run(outage) for outage in outages], prediction)


def test_who_wins_a_row_and_by_how_much() -> None:
    row = Row(
        "silent", "node dies silently", {CILIUM_BGP_GR: cell(9000), CILIUM_BGP: cell(2500), METALLB_L2: cell(6000)}
    )
    assert row.winners == (CILIUM_BGP,)
    assert row.ratio(CILIUM_BGP_GR) == pytest.approx(3.6)


def test_outages_that_cannot_be_told_apart_are_equal() -> None:
    assert Row("x", "x", {CILIUM_BGP: cell(0), METALLB_L2: cell(40)}).winners == ()
    three = Row("x", "x", {CILIUM_BGP: cell(5000), METALLB_L2: cell(5500), CILIUM_L2: cell(9000)})
    assert three.winners == (CILIUM_BGP, METALLB_L2)


def test_nothing_lost_has_no_ratio() -> None:
    assert Row("x", "x", {CILIUM_BGP: cell(0), METALLB_L2: cell(5000)}).ratio(METALLB_L2) is None


def test_untrusted_runs_count_only_when_there_are_no_others() -> None:
    mixed = Cell([run(100), run(9000, trusted=False)])
    assert (mixed.p50_ms, mixed.trusted) == (100, True)
    alone = Cell([run(9000, trusted=False)])
    assert (alone.p50_ms, alone.trusted) == (9000, False)


def test_a_cell_that_parts_from_its_prediction_says_so() -> None:
    predicted = Prediction(5, 6, 7, "formula", "source")
    assert cell(6000, 6100, 6200, prediction=predicted).finding is None
    found = cell(20000, 20100, 20200, prediction=predicted).finding
    assert found is not None
    assert "20" in found


def test_the_table_and_the_page(tmp_path: Path) -> None:
    fault = Event(1, "fault", FAULT, "worker1", "what happened", 1)
    journal.save(tmp_path / "timelines/silent-1.jsonl", [fault])
    kept = Cell([run(9000, timeline="timelines/silent-1.jsonl")])
    score = Score([Row("silent", "node dies <silently>", {CILIUM_BGP_GR: kept, CILIUM_BGP: cell(2500)})], CONDITIONS)
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(report.render(score))
    text = console.export_text()
    assert "9.0 s" in text
    assert "2.5 s" in text
    assert "hold 3 s, restart 6 s" in text
    page = report.html(score, tmp_path)
    assert "node dies &lt;silently&gt;" in page
    assert "what happened" in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", ""), "the page needs nothing else"
    facts = score.facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["rows"][0]["cells"]["cilium-bgp-gr"]["ratio"] == 3.6


def test_a_saved_scorecard_is_read_back_whole(tmp_path: Path) -> None:
    predicted = Prediction(5, 6, 7, "formula", "source")
    rows = [Row("silent", "node dies", {CILIUM_BGP_GR: cell(9000, 9100, prediction=predicted), METALLB_L2: cell(0)})]
    facts = Score(rows, CONDITIONS).facts()
    file = tmp_path / "score.json"
    file.write_text(json.dumps(facts))
    assert saved.load(file).facts() == facts


@pytest.mark.parametrize("text", ["nothing", "[]", '{"kind": "gate"}', '{"kind": "scorecard", "rows": [{}]}'])
def test_what_is_no_scorecard_is_one_sentence(tmp_path: Path, text: str) -> None:
    file = tmp_path / "score.json"
    file.write_text(text)
    with pytest.raises(UserError, match=r"JSON|scorecard"):
        saved.load(file)


@pytest.mark.parametrize("name", ["small", "failover", "blog"])
@pytest.mark.parametrize("version", ["1.20.2", "1.18.0", "1.16.0"])
def test_the_site_is_a_topology_whose_manifests_the_version_serves(tmp_path: Path, name: str, version: str) -> None:
    base = load(ROOT / "topologies" / f"{name}.yaml")
    site = write(base, semver.parse(version), tmp_path, COLUMNS, router_arp="linux", quick=True)
    made = load(site.topology)
    assert list(made.nodes) == list(base.nodes)
    assert {site.clients[column] for column in COLUMNS} == set(made.clients)
    objects = manifests.load(tmp_path / "manifests.yaml")
    api.check(objects, semver.parse(version))
    kinds = {one.kind for one in objects}
    assert {"IPAddressPool", "L2Advertisement", "BGPPeer", "CiliumL2AnnouncementPolicy"} <= kinds
    services = {one.name: one.object for one in objects if one.kind == "Service"}
    assert set(services) == {column.key for column in COLUMNS}
    address = services["metallb-l2"]["metadata"]["annotations"]["metallb.io/loadBalancerIPs"]
    assert leader(address, made.nodes) == site.victim
    used = {
        str(own.ip)
        for host in (*made.nodes, *made.routers, *made.clients)
        for link in made.links(host)
        for own in link.addresses
    }
    assert address not in used


def test_the_policy_can_be_kept_to_one_node() -> None:
    (wanted,) = l2_policy("worker1")["spec"]["nodeSelector"]["matchExpressions"]
    assert wanted["values"] == ["worker1"]
    assert "matchLabels" in l2_policy()["spec"]["nodeSelector"]


def test_a_topology_without_a_client_behind_a_router_will_not_do(tmp_path: Path) -> None:
    base = load(ROOT / "topologies" / "small.yaml")
    alone = base.model_copy(update={"clients": {}})
    with pytest.raises(UserError, match="a scorecard needs a client behind a router; small has none"):
        write(alone, semver.parse("1.20.2"), tmp_path, COLUMNS, router_arp="linux", quick=True)


def test_the_table_at_the_end_of_the_scenarios() -> None:
    def facts(probe: str, outage: float) -> dict[str, object]:
        lost = {"up": 1, "down": 0, "unknown": 2}
        return {
            "probe": probe,
            "longest_outage_ms": outage,
            "resolution_ms": 20.0,
            "lost": lost,
            "trust": {"trusted": True},
        }

    records = [
        {"runs": [facts("graceful", 8500.0)]},
        {"runs": [facts("plain", 2500.0)]},
        {"runs": [facts("plain", 1.0)]},
    ]
    told = at_the_end.cells("node dies silently", {"graceful": "cilium-bgp-gr", "plain": "cilium-bgp"}, records)
    head, line = at_the_end.lines(at_the_end.rows([told, told]))
    assert head.split() == ["longest", "outage", "Cilium", "BGP,", "GR", "Cilium", "BGP"]
    assert line.split() == ["node", "dies", "silently", "8.5", "s", "2.5", "s", "*"]
