"""MetalLB's own programs in a lab: the leader by its formula, two announcers side by side, and what is refused."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.bringup import attach, open_lab
from harness.errors import LabError, MissingCapability, UserError
from harness.faults import SpeakerStalled
from harness.lab import Lab
from harness.metallb.versions import KNOWN
from harness.objects import deployment, pool, service
from harness.timeline import event
from harness.wait import steady, until

ROOT = Path(__file__).parents[2]
TWO = ROOT / "topologies" / "metallb-two.yaml"


@pytest.fixture(scope="module", params=[str(version) for version in KNOWN])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    name = f"metallb-{request.param.replace('.', '-')}-{os.getpid()}"
    try:
        made = open_lab(TWO, name=name, build=False, metallb_version=request.param)
    except (MissingCapability, UserError) as error:  # not built, or not on this machine
        pytest.skip(str(error))
    with made:
        made.mark_clean()
        yield made


@pytest.fixture(autouse=True)
def _as_before(lab: Lab) -> Iterator[None]:
    yield
    lab.reset()


def test_the_whole_chain_holds_and_says_so(lab: Lab) -> None:
    address = lab.service("web").address
    assert address == "192.168.130.200"
    assert lab.l2.leader(address) == lab.l2.owner(address) == "worker1"
    links = {link.layer: link.detail for link in lab.chain().links}
    assert links["leader"] == "worker1: MetalLB, first of 2 by sha256(node#address)"
    assert links["neighbour"] == "at worker1"
    status = lab.status()
    assert status.metallb_version == lab.metallb_version
    assert {node.name: node.speaker_running for node in status.nodes} == {
        "worker1": True,
        "worker2": True,
        "storage": None,
    }
    (owner,) = status.owners
    assert (owner.expected, owner.routers) == ("worker1", {"opnsense": "worker1"})
    provenance = lab.backend.provenance["metallb"]
    assert provenance["modules"]["go.universe.tf/metallb"] == f"v{lab.metallb_version}"
    assert "ipaddresspools.metallb.io" in provenance["kinds"]


def test_what_speakers_do_is_on_the_timeline(lab: Lab) -> None:
    stopped = lab.node("worker1").speaker.stop()
    lab.timeline.wait(event.ARP_ANNOUNCED, within=5, after_ns=stopped - 10**9, node="worker2")
    lab.l2.wait_owner("192.168.130.200", "worker2", within=5)
    told = [each.text for each in lab.timeline.events(stopped - 2 * 10**9).of(event.LOG)]
    heir = "worker2/metallb-speaker"
    assert any(text.startswith(f"{heir}: node event") and "node-event=NodeLeave" in text for text in told)
    assert any(text.startswith(f"{heir}: service has IP, announcing ips=192.168.130.200") for text in told)


def test_without_classes_the_two_take_away_what_the_other_gives(lab: Lab) -> None:
    """As soon as Cilium has a pool, LB-IPAM clears an address of MetalLB's, who gives it again, and so on."""
    lab.apply([pool("cilium", "192.168.142.0/24", version=lab.cilium_version, selector={"matchLabels": {"by": "x"}})])
    seen: list[tuple[str, ...]] = []

    def changes() -> int:
        now = tuple(lab.service("web").addresses)
        if not seen or seen[-1] != now:
            seen.append(now)
        return len(seen)

    until("the address to come and go", changes, lambda count: count > 6, within=20, every=0.005)
    assert set(seen) == {(), ("192.168.130.200",)}


@pytest.fixture
def by_class(tmp_path: Path) -> Iterator[Lab]:
    """A lab in which MetalLB keeps to Services of a class of its own, with a pool of each announcer."""
    topology = tmp_path / "classes.yaml"
    text = TWO.read_text().replace("name: metallb-two", "name: classes")
    settings = "metallb:\n  loadBalancerClass: metallb.io/metallb\n"
    topology.write_text(text.replace("metallb:\n", settings, 1).replace("- metallb/", f"- {TWO.parent}/metallb/"))
    manifests = [TWO.parent / "metallb" / "l2.yaml"]
    with open_lab(topology, name=f"classes-{os.getpid()}", build=False, manifests=manifests) as made:
        yield made


def test_side_by_side_they_are_told_apart_by_class(by_class: Lab) -> None:
    """Each keeps to its own Services: MetalLB to those of its class, LB-IPAM to those without one and of Cilium's."""
    lab = by_class
    lab.apply(
        [
            deployment("web", node="storage"),
            pool("cilium", "192.168.142.0/24", version=lab.cilium_version),
            service("plain", app="web"),
            service("bgp", app="web", loadBalancerClass="io.cilium/bgp-control-plane"),
            service("l2", app="web", loadBalancerClass="metallb.io/metallb"),
        ]
    )
    names = ("plain", "bgp", "l2")
    given = [lab.service(name).address for name in names]
    assert [address.rpartition(".")[0] for address in given] == ["192.168.142", "192.168.142", "192.168.130"]
    lab.converge()
    assert lab.l2.owner(given[2]) == lab.l2.leader(given[2])
    steady(
        "all to keep their addresses",
        lambda: [lab.service(name).addresses for name in names],
        lambda now: now == [[address] for address in given],
        window=3,
        every=0.1,
    )


def test_a_speaker_that_is_held_up_gets_its_share_and_runs_again(lab: Lab) -> None:
    name = "worker1/metallb-speaker"

    def states() -> set[str]:
        found = lab.backend.exec("worker1", ["cat", f"/proc/{lab.backend.processes()[name].pid}/stat"]).stdout
        return {found.rpartition(")")[2].split()[0]}

    with lab.fault(SpeakerStalled("worker1", cpu_percent=20)):
        seen = set().union(*(states() for _ in range(40)))
        assert "T" in seen
        assert seen - {"T"}
    assert "T" not in set().union(*(states() for _ in range(20)))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("kind: IPAddressPool\nmetadata: {name: a, namespace: metallb-system}\nspec: {adresses: []}", r"adresses"),
        ("kind: IPAddressPol\nmetadata: {name: a, namespace: metallb-system}", r"IPAddressPol"),
    ],
)
def test_what_metallb_does_not_serve_is_refused_when_it_is_applied(lab: Lab, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        lab.apply(f"apiVersion: metallb.io/v1beta1\n{text}\n")


def test_what_metallb_does_not_serve_is_refused_before_a_lab_starts(lab: Lab, tmp_path: Path) -> None:
    manifest = tmp_path / "pool.yaml"
    manifest.write_text(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a}\nspec:\n  adresses: []\n"
    )
    with pytest.raises(UserError, match=rf"{manifest}:5: unknown field spec.adresses of IPAddressPool"):
        open_lab(TWO, manifests=[manifest], name="never", build=False, metallb_version=lab.metallb_version)
    with pytest.raises(LabError):
        attach("never")
