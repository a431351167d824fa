"""On the capture of each mechanism `lblab diagnose` names that mechanism, and no other one first."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import capture_data as data
import pytest
from capture_data import Scene

from harness.diagnose.decide import Diagnosis, diagnose
from harness.diagnose.load import Given, load
from harness.lag.mechanisms import Mechanism

KUBE_NODES = {
    "kind": "List",
    "items": [
        {
            "kind": "Node",
            "metadata": {"name": name},
            "status": {"addresses": [{"type": "InternalIP", "address": data.ADDRESS[mac]}]},
        }
        for name, mac in (("node1", data.NODE1), ("node2", data.NODE2))
    ],
}
LEASE = {
    "kind": "Lease",
    "metadata": {"name": "cilium-l2announce-default-game", "namespace": "kube-system"},
    "spec": {"holderIdentity": "node2", "leaseTransitions": 1, "acquireTime": "2023-11-14T22:14:36.000000Z"},
}


def answer(folder: Path, scene: Scene, *objects: object, at_node: bool = False) -> Diagnosis:
    file = folder / "nodes.pcap"
    file.write_bytes(data.pcap(scene.sorted()))
    kubectl = folder / "objects.json"
    kubectl.write_text(json.dumps({"kind": "List", "items": list(objects)}))
    given = Given([file], kubectl=[kubectl] if objects else [], at_node=at_node)
    (found,) = diagnose(load(given))
    return found


@pytest.mark.parametrize(
    ("mechanism", "scene"),
    [
        (Mechanism.TWO_ANNOUNCERS, data.two_announcers),
        (Mechanism.SPEAKER_STALL, data.speaker_stall),
        (Mechanism.ARP_UNANSWERED, data.arp_unanswered),
        (Mechanism.GARP_LOST, data.garp_lost),
        (Mechanism.SPLIT_BRAIN, data.split_brain),
        (Mechanism.EARLY_RETURN, data.early_return),
        (Mechanism.SERVER_STALL, data.server_stall),
        (Mechanism.LINK_FLAP, data.link_flap),
    ],
    ids=lambda value: value.value if isinstance(value, Mechanism) else "",
)
def test_the_router_port_alone_tells(tmp_path: Path, mechanism: Mechanism, scene: Callable[[], Scene]) -> None:
    found = answer(tmp_path, scene())
    assert found.mechanism is mechanism, [(total.mechanism.value, total.score) for total in found.ranking]
    assert found.innocent == (mechanism is Mechanism.SERVER_STALL)


def test_a_duplicate_address_needs_to_know_the_nodes(tmp_path: Path) -> None:
    assert answer(tmp_path, data.duplicate_address(), KUBE_NODES).mechanism is Mechanism.DUPLICATE_ADDRESS
    without = answer(tmp_path, data.duplicate_address())
    assert any("kubectl get nodes" in each for each in without.capture)


def test_a_lost_lease_needs_the_lease(tmp_path: Path) -> None:
    assert answer(tmp_path, data.lease_lost(), LEASE).mechanism is Mechanism.LEASE_LOST
    without = answer(tmp_path, data.lease_lost())
    assert without.mechanism is None
    assert Mechanism.LEASE_LOST in [total.mechanism for total in without.possible]
    assert any("kubectl get lease" in each for each in without.capture)


def test_a_stale_reply_path_needs_a_capture_at_the_node(tmp_path: Path) -> None:
    assert answer(tmp_path, data.stale_reply_path(), at_node=True).mechanism is Mechanism.STALE_REPLY_PATH
    without = answer(tmp_path, data.stale_reply_path())
    assert without.mechanism is None
    assert any("at the node" in each for each in without.capture)


def test_the_period_of_two_announcers(tmp_path: Path) -> None:
    found = answer(tmp_path, data.two_announcers())
    assert found.period is not None
    assert found.period.seconds == pytest.approx(1226, abs=5)
    assert [round(finding.episode.length / 1e9) for finding in found.findings] == [31, 31, 31]


def test_a_server_that_stalls_is_never_the_network(tmp_path: Path) -> None:
    found = answer(tmp_path, data.server_stall())
    assert found.innocent
    assert {total.mechanism for total in found.ranking} == {Mechanism.SERVER_STALL}


def test_nothing_happened(tmp_path: Path) -> None:
    file = tmp_path / "quiet.pcap"
    file.write_bytes(data.pcap(Scene().run(60).sorted()))
    seen = load(Given([file]))
    assert len(seen.flows) == 5
    assert diagnose(seen) == ()


def test_a_players_machine_hears_that_the_router_finds_nobody(tmp_path: Path) -> None:
    file = tmp_path / "client.pcap"
    file.write_bytes(data.pcap(data.at_the_client()))
    (found,) = diagnose(load(Given([file])))
    assert found.mechanism is Mechanism.ARP_UNANSWERED
    assert "no host" in found.ranking[0].evidence[0]
    # nothing is concluded of what is not to be seen there
    file.write_bytes(data.pcap([each for each in data.at_the_client() if each[1][23] != 1]))
    (silent,) = diagnose(load(Given([file])))
    assert silent.mechanism is None
    assert len(silent.possible) > 3


def test_a_conversation_that_pauses_has_no_lags(tmp_path: Path) -> None:
    """A download in bursts: silence of both sides is no lag; silence of one is."""
    packets = []
    for burst in range(20):
        for number in range(50):
            at = data.START + burst * 5 * data.SECOND + number * 20_000_000
            packets.append((at, data.ethernet(data.NODE1, data.ROUTER, data.udp(data.CLIENT, 50001, data.VIP, 443))))
            packets.append(
                (at + 1, data.ethernet(data.ROUTER, data.NODE1, data.udp(data.VIP, 443, data.CLIENT, 50001)))
            )
    file = tmp_path / "quic.pcap"
    file.write_bytes(data.pcap(packets))
    assert diagnose(load(Given([file]))) == ()
    served = [each for number, each in enumerate(packets) if not (number % 2 and 1040 <= number < 1080)]
    file.write_bytes(data.pcap(served))
    (found,) = diagnose(load(Given([file])))
    assert len(found.findings) == 1
