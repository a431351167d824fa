"""Faults without a lab: what a fault promises, how it is written down, and when a schedule makes it happen."""

from __future__ import annotations

import dataclasses
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import harness.faults
from harness.backends.base import Stamp
from harness.errors import LabError, UserError
from harness.faults import parameters, registry, schedule
from harness.faults.base import Fault, Steps
from harness.lab import Lab
from harness.timeline import journal
from harness.wait import until

MS = 1_000_000


@dataclasses.dataclass(frozen=True)
class Noted(Fault):
    """A fault that only notes what is done; with `fails` its second step cannot be done."""

    host: str = "worker1"
    fails: bool = False
    stuck: bool = False
    name = "noted"

    @property
    def subject(self) -> str:
        return self.host

    def apply(self, steps: Steps) -> None:
        notes: list[str] = cast(Any, steps.lab).notes

        def note(text: str) -> Stamp:
            if "stuck" in text or text == "broken":
                raise LabError(f"{text} cannot be done")
            notes.append(text)
            return Stamp(time.monotonic_ns(), 10, "noted")

        steps.on_undo(self.host, "first back", lambda: note("first back"))
        steps.do(self.host, "first", lambda: note("first"))
        if self.stuck:
            steps.on_undo(self.host, "stuck", lambda: note("stuck"))
        if self.fails:
            steps.do(self.host, "broken", lambda: note("broken"))
        steps.on_undo(self.host, "second back", lambda: note("second back"))
        steps.do(self.host, "second", lambda: note("second"))


class FakeLab:
    """As much of a lab as a fault needs that touches nothing."""

    def __init__(self, folder: Path) -> None:
        self.backend = SimpleNamespace(folder=folder)
        self.faults: list[Any] = []
        self.notes: list[str] = []

    def fault(self, fault: Fault, *, lasting: float | None = None) -> Any:
        return fault.inject(cast(Lab, self), lasting=lasting)

    def written(self) -> list[tuple[str, str]]:
        events = journal.load(self.backend.folder / journal.FILE)
        assert all(event.source == event.kind == "fault" for event in events)
        return [(event.subject, event.text) for event in events]


@pytest.fixture
def lab(tmp_path: Path) -> FakeLab:
    return FakeLab(tmp_path)


# -- what a fault promises -------------------------------------------------------------------------------------------


def test_a_block_does_every_step_and_takes_back_the_last_first(lab: FakeLab) -> None:
    before = time.monotonic_ns()
    with lab.fault(Noted()) as fault:
        assert before <= fault.at_ns <= time.monotonic_ns()
        assert (fault.resolution_ns, fault.how) == (10, "noted")
        assert lab.notes == ["first", "second"]
        assert lab.faults == [fault]
        assert fault.active
        assert fault.undone_at_ns is None
    assert lab.notes == ["first", "second", "second back", "first back"]
    assert lab.faults == []
    assert not fault.active
    assert fault.undone_at_ns == fault.events[-1].at_ns >= fault.at_ns
    assert lab.written() == [("worker1", text) for text in lab.notes]
    assert [event.data.get("undo", False) for event in fault.events] == [False, False, True, True]
    assert all(event.data["fault"] == "noted" for event in fault.events)
    assert fault.events[0].data["parameters"] == {"host": "worker1", "fails": False, "stuck": False}


def test_undo_is_done_once(lab: FakeLab) -> None:
    with lab.fault(Noted()) as fault:
        fault.undo()
        fault.undo()
    assert lab.notes.count("first back") == 1


def test_a_fault_that_cannot_be_done_is_taken_back_as_far_as_it_was_done(lab: FakeLab) -> None:
    with pytest.raises(LabError, match="broken cannot be done"):
        lab.fault(Noted(fails=True))
    assert lab.notes == ["first", "first back"]
    assert lab.faults == []


def test_a_step_that_cannot_be_taken_back_keeps_no_other_from_it(lab: FakeLab) -> None:
    fault = lab.fault(Noted(stuck=True))
    with pytest.raises(LabError, match="stuck cannot be done"):
        fault.undo()
    assert lab.notes == ["first", "second", "second back", "first back"]
    assert not fault.active


def test_a_fault_ends_after_the_time_that_it_lasts(lab: FakeLab) -> None:
    with lab.fault(Noted(), lasting=0.05) as fault:
        fault.wait_undone(5)
        assert lab.notes[-1] == "first back"
        assert fault.undone_at_ns - fault.at_ns >= 40 * MS
    assert lab.notes.count("first back") == 1


def test_what_goes_wrong_in_time_is_told_to_whoever_leaves_the_block(lab: FakeLab) -> None:
    with pytest.raises(LabError, match="stuck cannot be done"), lab.fault(Noted(stuck=True), lasting=0.01) as fault:
        until("the fault to end", lambda: not fault.active, within=5)
    with pytest.raises(LabError, match="stuck cannot be done"):
        fault.wait_undone(1)


def test_a_fault_that_is_forgotten_is_not_undone(lab: FakeLab) -> None:
    fault = lab.fault(Noted(), lasting=0.02)
    fault.forget()
    with fault:
        threading.Event().wait(0.1)  # longer than it would have lasted
    assert lab.notes == ["first", "second"]
    assert lab.faults == []


def test_waiting_for_an_end_that_does_not_come_is_an_error(lab: FakeLab) -> None:
    with lab.fault(Noted()) as fault, pytest.raises(LabError, match=r"noted worker1 still lasts after 0\.01 s"):
        fault.wait_undone(0.01)


# -- kinds -----------------------------------------------------------------------------------------------------------


def test_every_kind_is_registered_under_a_name_of_its_own() -> None:
    exported = {getattr(harness.faults, name) for name in harness.faults.__all__} - {
        Fault,
        harness.faults.Injected,
    }
    assert set(registry.KINDS.values()) == exported
    for name, kind in registry.KINDS.items():
        assert kind.name == name
        assert registry.summary(kind).endswith((".", ";"))
        assert dataclasses.fields(kind) is not None
        assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
        for parameter in parameters.of(kind):
            assert parameter.help.endswith("."), (name, parameter.name)


def test_an_unknown_kind_is_one_sentence_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"there is no fault 'agent-kil' \(did you mean agent-kill\?\)"):
        registry.find("agent-kil")


# -- parameters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "seconds"), [("3s", 3.0), ("500ms", 0.5), ("2m", 120.0), ("1.5s", 1.5), (4, 4.0), ("7", 7.0), (0, 0.0)]
)
def test_durations(written: object, seconds: float) -> None:
    assert parameters.duration(written) == pytest.approx(seconds)


@pytest.mark.parametrize("written", ["3x", "", "-1s", -1, True, None, "s", [3]])
def test_what_is_no_duration(written: object) -> None:
    with pytest.raises(ValueError, match="is no duration: write 500ms, 3s or 2m"):
        parameters.duration(written)


def test_a_fault_of_what_a_person_wrote() -> None:
    built = parameters.build(harness.faults.AgentKilled, {"node": "worker1", "restart-after": "500ms"})
    assert built == harness.faults.AgentKilled("worker1", restart_after=0.5)
    assert built.lasting == 0.5
    assert parameters.build(harness.faults.NodeSilent, {"node": "n", "arp": False}).parameters() == {
        "node": "n",
        "arp": False,
    }
    loss = parameters.build(harness.faults.PacketLoss, {"host": "client", "percent": 5})
    assert loss == harness.faults.PacketLoss("client", 5.0)


@pytest.mark.parametrize(
    ("kind", "given", "sentence"),
    [
        ("agent-kill", {}, "agent-kill needs node"),
        ("agent-kill", {"nod": "x"}, r"agent-kill has no parameter 'nod' \(it has node, restart-after\)"),
        ("agent-kill", {"node": 3}, "agent-kill: node is a name, not 3"),
        ("agent-kill", {"node": "n", "restart-after": "soon"}, "agent-kill: restart-after: 'soon' is no duration"),
        ("node-silent", {"node": "n", "arp": "no"}, "node-silent: arp is true or false, not 'no'"),
        ("link-down", {"host": "n", "where": "sky"}, "link-down: where is host or switch or path, not 'sky'"),
        ("packet-loss", {"host": "n", "percent": 101}, "packet-loss: percent is above 0 and at most 100, not 101"),
        ("packet-loss", {"host": "n", "percent": "5"}, "packet-loss: percent is a number, not '5'"),
        ("packet-delay", {"host": "n", "delay": 0}, "packet-delay: delay is above 0"),
        ("packet-delay", {"host": "n"}, "packet-delay needs delay"),
        ("speaker-stall", {"node": "n", "cpu-percent": 100.0}, "speaker-stall: cpu-percent is at least 0 and below"),
        ("memberlist-filter", {"node": "n", "direction": "up"}, "memberlist-filter: direction is from or to or both"),
    ],
)
def test_a_parameter_that_is_wrong_is_one_sentence(kind: str, given: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError, match=f"^{sentence}"):
        parameters.build(registry.find(kind), given)


# -- MetalLB's speakers ----------------------------------------------------------------------------------------------


def speakers_lab(tmp_path: Path) -> Any:
    """A lab with a speaker on worker1 that notes what is asked of its backend."""
    noted: list[tuple[Any, ...]] = []

    def note(*call: Any) -> Stamp:
        noted.append(call)
        return Stamp(time.monotonic_ns(), 10, "noted")

    made = FakeLab(tmp_path)
    made.backend = SimpleNamespace(
        folder=tmp_path,
        noted=noted,
        processes=lambda: {"worker1/metallb-speaker": SimpleNamespace(pid=7)},
        throttle=lambda *call: note("throttle", *call),
        set_filter=lambda *call: note("filter", *call),
    )
    addresses = {"worker1": ("192.168.130.151",), "worker2": ("192.168.130.152", "fd00:130::152")}

    def node(name: str) -> Any:
        return SimpleNamespace(speaker=SimpleNamespace(name=f"{name}/metallb-speaker"), addresses=addresses[name])

    topology = SimpleNamespace(speakers=lambda: ("worker1",))
    made.__dict__.update(node=node, topology=topology, metallb_version="0.16.1")
    return made


def test_a_speaker_that_is_held_up_runs_for_a_share_of_the_time(tmp_path: Path) -> None:
    lab = speakers_lab(tmp_path)
    with lab.fault(harness.faults.SpeakerStalled("worker1", cpu_percent=10)):
        assert lab.backend.noted == [("throttle", "worker1/metallb-speaker", 0.1)]
    assert lab.backend.noted[-1] == ("throttle", "worker1/metallb-speaker", None)
    assert lab.written()[0][1] == "runs 10 % of the time (SIGSTOP and SIGCONT in turns)"


def test_a_node_without_a_speaker_is_a_user_error(tmp_path: Path) -> None:
    lab = speakers_lab(tmp_path)
    with pytest.raises(UserError, match=r"no MetalLB speaker runs on worker2 in this lab \(speakers run on: worker1\)"):
        lab.fault(harness.faults.SpeakerStalled("worker2"))


@pytest.mark.parametrize(
    ("direction", "peer", "name", "rules"),
    [
        (
            "to",
            None,
            "memberlist_to",
            "chain in { type filter hook input priority -400; meta l4proto { tcp, udp } th sport 7946 drop;"
            "meta l4proto { tcp, udp } th dport 7946 drop; };",
        ),
        (
            "from",
            "worker2",
            "memberlist_from_worker2",
            "chain out { type filter hook output priority -400; "
            "ip daddr 192.168.130.152 meta l4proto { tcp, udp } th sport 7946 drop;"
            "ip daddr 192.168.130.152 meta l4proto { tcp, udp } th dport 7946 drop;"
            "ip6 daddr fd00:130::152 meta l4proto { tcp, udp } th sport 7946 drop;"
            "ip6 daddr fd00:130::152 meta l4proto { tcp, udp } th dport 7946 drop; };",
        ),
    ],
)
def test_memberlist_is_dropped_one_way(tmp_path: Path, direction: Any, peer: str | None, name: str, rules: str) -> None:
    lab = speakers_lab(tmp_path)
    with lab.fault(harness.faults.MemberlistFiltered("worker1", direction=direction, peer=peer)):
        assert lab.backend.noted == [("filter", "worker1", name, rules)]
    assert lab.backend.noted[-1] == ("filter", "worker1", name, None)


# -- schedules -------------------------------------------------------------------------------------------------------


def test_a_schedule_is_sorted_by_time(tmp_path: Path) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text(
        "- {at: 2s, fault: node-silent, node: worker2, for: 500ms}\n"
        "- at: 0.5\n  fault: agent-kill\n  node: worker1\n  restart-after: 3s\n"
    )
    assert schedule.load(file) == [
        schedule.Entry(0.5, harness.faults.AgentKilled("worker1", 3.0), None),
        schedule.Entry(2.0, harness.faults.NodeSilent("worker2"), 0.5),
    ]


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("at: 1s\n", 1, "a schedule is a list of faults"),
        ("- 3\n", 1, "an entry of a schedule says at, fault and the fault's parameters"),
        ("- at: 1s\n  node: worker1\n", 1, "an entry of a schedule says at, fault and the fault's parameters"),
        ("- at: 1s\n  fault: agent-kil\n  node: worker1\n", 2, "there is no fault 'agent-kil'"),
        ("- {at: 1s, fault: agent-kill, node: w}\n- fault: agent-kill\n  node: w\n", 2, "agent-kill needs a time"),
        ("- at: 1s\n  fault: agent-kill\n", 2, "agent-kill needs node"),
        ("- at: soon\n  fault: agent-kill\n  node: w\n", 1, "at: 'soon' is no duration"),
        ("- at: 1s\n  fault: agent-kill\n  node: w\n  for: 3x\n", 4, "for: '3x' is no duration"),
        ("- at: 1s\n  fault: agent-kill\n  node: w\n  restart-after: x\n", 4, "agent-kill: restart-after: 'x' is no"),
        ("- at: 1s\n  fault: agent-kill\n  node: w\n  nods: x\n", 4, "agent-kill has no parameter 'nods'"),
        ("- at: 1s\n  fault: link-down\n  host: w\n  where: sky\n", 4, "link-down: where is host or switch or path"),
    ],
)
def test_a_mistake_in_a_schedule_has_its_file_and_line(tmp_path: Path, text: str, line: int, sentence: str) -> None:
    file = tmp_path / "faults.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as error:
        schedule.load(file)
    assert (error.value.file, error.value.line) == (str(file), line)
    assert error.value.message.startswith(sentence)


def test_a_schedule_makes_each_fault_happen_in_its_time_and_undoes_all(lab: FakeLab) -> None:
    entries = [
        schedule.Entry(0.1, Noted("a"), 0.2),
        schedule.Entry(0.2, Noted("b"), None),
    ]
    told: list[Any] = []
    start = time.monotonic_ns()
    events = schedule.run(cast(Lab, lab), entries, told.append)
    assert [(event.subject, event.text) for event in events] == [
        ("a", "first"),
        ("a", "second"),
        ("b", "first"),
        ("b", "second"),
        ("a", "second back"),
        ("a", "first back"),
        ("b", "second back"),
        ("b", "first back"),
    ]
    assert told == events
    began = {event.subject: (event.at_ns - start) / MS for event in events if event.text == "first"}
    assert 100 <= began["a"] < 200
    assert began["b"] >= 200
    ended = next(event.at_ns for event in events if event.text == "first back")
    assert (ended - start) / MS >= 300


def test_a_schedule_that_breaks_undoes_what_it_did(lab: FakeLab) -> None:
    entries = [schedule.Entry(0.0, Noted("a"), None), schedule.Entry(0.01, Noted("b", fails=True), None)]
    with pytest.raises(LabError, match="broken cannot be done"):
        schedule.run(cast(Lab, lab), entries)
    assert lab.faults == []
    assert lab.notes == ["first", "second", "first", "first back", "second back", "first back"]


def test_a_schedule_undoes_all_even_where_one_cannot_be_undone(lab: FakeLab) -> None:
    entries = [schedule.Entry(0.0, Noted("a"), None), schedule.Entry(0.0, Noted("b", stuck=True), None)]
    with pytest.raises(LabError, match="stuck cannot be done"):
        schedule.run(cast(Lab, lab), entries)
    assert lab.notes.count("first back") == 2
