"""Traffic of one client to one address while something happens, and what it says of the outage and of itself."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import LabError, LblabError
from harness.timeline import outages as timeline_outages
from harness.timeline.event import Event
from harness.traffic import control, records
from harness.traffic.analysis import Analysis, analyse
from harness.traffic.outages import Outage
from harness.traffic.records import Run
from harness.verdict import trust
from harness.verdict.budget import Sample
from harness.verdict.predict import Prediction
from harness.verdict.sample import quality
from harness.verdict.trust import JITTER_MS, CpuTimes, Trust
from harness.wait import until

if TYPE_CHECKING:
    from harness.lab import Lab

#: Packets a second of a probe that measures outages: 1 ms is what lblab promises as resolution (design.md).
OUTAGE_RATE = 1000
#: Answers that a probe must have had before anything is done to the lab: traffic starts before the fault.
_FIRST_ANSWERS = 100
_ANSWERS_WITHIN = 10.0
#: Seconds for a prober to end: it lingers a second for the last replies.
_ENDS_WITHIN = 10.0
_MS = 1_000_000


@dataclass
class Measured:
    """One run of one probe. Times are CLOCK_MONOTONIC nanoseconds."""

    name: str
    address: str
    analysis: Analysis
    trust: Trust
    started_ns: int
    ended_ns: int
    prediction: Prediction | None = None
    #: Where the records of every packet are.
    records: Path | None = None
    events: list[Any] = field(default_factory=list)

    def worst(self, since_ns: int = 0) -> Outage | None:
        """The longest outage of any flow that ended after a moment."""
        found = [outage for outage in self.analysis.outages if outage.end >= since_ns]
        return max(found, key=lambda outage: outage.duration, default=None)

    def sample(self, since_ns: int = 0) -> Sample:
        """This run as the verdict wants it: the longest outage of any flow since a moment."""
        worst = self.worst(since_ns)
        return Sample(
            outage_ms=worst.duration / _MS if worst else 0.0,
            resolution_ms=self.analysis.resolution / _MS,
            lost=self.analysis.loss.lost,
            watched_ms=(self.ended_ns - max(since_ns, self.started_ns)) / _MS,
            trust=self.trust,
            detail=self.describe(),
        )

    def describe(self) -> str:
        """What a failure says of this run."""
        loss = self.analysis.loss
        parts = [f"{self.name}: {loss.lost} of {loss.sent} packets lost"]
        for outage in self.analysis.outages[:4]:
            where = f", {outage.place.value}" if outage.place else ""
            took, lost = outage.duration / _MS, outage.lost
            parts.append(f"  flow {outage.flow}: {took:.1f} ms, {lost} packets, {outage.direction}{where}")
        if self.prediction:
            parts.append(f"  predicted: {self.prediction}")
        return "\n".join(parts)

    def facts(self) -> dict[str, Any]:
        """The figures for a result file."""
        return {
            "probe": self.name,
            "address": self.address,
            **self.analysis.facts(),
            "trust": {"trusted": self.trust.trusted, "reasons": self.trust.reasons, **self.trust.figures},
            "prediction": self.prediction.facts() if self.prediction else None,
        }


class Probe:
    """Isochronous UDP from a client to an address; a context manager that measures from entry to exit.

    Args:
        lab: The lab.
        address: Where to, such as a service's address.
        port: The UDP port there.
        client: The client's name; the lab's first one by default.
        rate: Packets a second of each flow.
        flows: Flows with ports of their own, which spread over the router's equal next hops.
        size: Payload in bytes.
        source_port: Of the first flow, one more for each further one; 0 lets the kernel choose.
        taps: Listen at every node, too, so that a loss is placed before or behind it.
        resolution_ms: How finely outages have to be known for what is asked; the prober may not jitter by more.
        name: What results call it.
    """

    def __init__(
        self,
        lab: Lab,
        address: str,
        port: int,
        *,
        client: str | None = None,
        rate: float = OUTAGE_RATE,
        flows: int = 1,
        size: int = 100,
        source_port: int = 0,
        taps: bool = False,
        resolution_ms: float = JITTER_MS,
        name: str | None = None,
    ) -> None:
        self._lab = lab
        self._client = lab.client(client).name
        self._address, self._port = address, port
        self.name = name or f"{self._client} to {address}"
        folder = lab.backend.folder / "probes"
        folder.mkdir(exist_ok=True)
        self._out = folder / f"{self._client}-{time.monotonic_ns()}.jsonl"
        host = f"[{address}]" if ":" in address else address
        self._options = [f"--to={host}:{port}", f"--rate={rate:g}", f"--flows={flows}", f"--size={size}"]
        if source_port:
            self._options.append(f"--source-port={source_port}")
        self._flows = flows
        self._resolution_ms = resolution_ms
        self._process: subprocess.Popen[bytes] | None = None
        self._tapped = [self._out.with_suffix(f".{node}.tap") for node in lab.nodes] if taps else []
        self._taps: list[subprocess.Popen[bytes]] = []
        self._cpu: tuple[CpuTimes, dict[int, int]] | None = None
        self._measured: Measured | None = None
        self._started_ns = 0
        #: When it stopped sending, and how the machine's CPU time was used until then.
        self._halted: tuple[int, trust.Load] | None = None

    def start(self) -> None:
        """Start sending and wait until every flow is answered: the precondition of all that is measured.

        Raises:
            LabError: when no answers come.
        """
        command = [str(self._lab.backend.lablet), "probe", *self._options, f"--out={self._out}", "--stdin"]
        for node, path in zip(self._lab.nodes, self._tapped, strict=False):
            tap = [str(self._lab.backend.lablet), "tap", "--iface=eth0", f"--out={path}", "--stdin"]
            self._taps.append(_popen(self._lab.backend.argv(node, tap)))
        # -stdin: they end with this process, whatever ends it
        self._process = _popen(self._lab.backend.argv(self._client, command))
        until(
            f"answers from {self._address}:{self._port}",
            self._answers,
            lambda flows: len(flows) == self._flows and min(flows.values()) >= _FIRST_ANSWERS // self._flows,
            within=_ANSWERS_WITHIN,
            every=0.02,
            show=lambda flows: f"answers by flow: {flows or 'none'}",
        )
        self._cpu = _cpu_now(), self._lab.backend.cpu_times()
        self._started_ns = time.monotonic_ns()

    def _answers(self) -> dict[int, int]:
        if self._process is not None and self._process.poll() is not None:
            said = self._process.stderr.read().decode() if self._process.stderr else ""
            raise LabError(f"the prober on {self._client} ended: {said.strip()}")
        found: dict[int, int] = {}
        for line in self._out.read_text().splitlines() if self._out.exists() else ():
            if line.startswith('["r",'):
                flow = int(line.split(",")[1])
                found[flow] = found.get(flow, 0) + 1
        return found

    def halt(self) -> None:
        """Stop sending and wait for the last answers; `stop` analyses them."""
        if self._halted is not None:
            return
        if self._process is None or self._cpu is None:
            raise LblabError("the probe was not started")
        ended = time.monotonic_ns()
        before, own = self._cpu
        now = self._lab.backend.cpu_times()
        used = sum(ticks - own.get(pid, 0) for pid, ticks in now.items())
        self._halted = ended, trust.load(before, _cpu_now(), used)
        self._end()

    def stop(self) -> Measured:
        """Stop sending, wait for the last answers and analyse."""
        if self._measured is not None:
            return self._measured
        self.halt()
        assert self._halted is not None
        ended, cpu = self._halted
        run = records.read(self._out)
        analysis = analyse(run, logs=list(self._logs()), taps=[records.read_tap(path) for path in self._tapped])
        self._lab.timeline.add(*self._told(run, analysis, ended))
        self._measured = Measured(
            name=self.name,
            address=self._address,
            analysis=analysis,
            trust=trust.judge(
                cpu=cpu,
                probes=[quality(run, analysis, around=analysis.longest)],
                resolution_ms=self._resolution_ms,
            ),
            started_ns=self._started_ns,
            ended_ns=ended,
            records=self._out,
        )
        return self._measured

    def _told(self, run: Run, analysis: Analysis, ended_ns: int) -> Iterator[Event]:
        """What stands on the timeline of what the probe saw."""
        yield from timeline_outages.events(analysis.outages, self.name, analysis.resolution)
        yield from timeline_outages.seen_as(analysis.moves, self.name)
        yield timeline_outages.account(
            analysis,
            self.name,
            client=self._client,
            address=self._address,
            port=self._port,
            nodes={node.address: name for name, node in self._lab.nodes.items()},
            began_ns=self._started_ns,
            ended_ns=ended_ns,
        )

    def _logs(self) -> Iterator[control.ServerLog]:
        """What the pods received, of those that still run; the others' replies have told what they had received."""
        for node in self._lab.nodes.values():
            with contextlib.suppress(OSError, LabError):
                for pod in self._lab.backend.node_agent(node.name, {"op": "pods"})["pods"]:
                    with contextlib.suppress(OSError, LabError):
                        yield control.log(pod["control"])

    def _end(self) -> None:
        process, self._process = self._process, None
        taps, self._taps = self._taps, []
        for each in ([process] if process else []) + taps:
            _stop(each)

    @property
    def measured(self) -> Measured:
        """What was measured, once the probe has stopped."""
        if self._measured is None:
            raise LblabError("the probe still runs")
        return self._measured

    def __enter__(self) -> Probe:
        try:
            self.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.stop()
        else:
            self._end()


@contextlib.contextmanager
def together(probes: Mapping[str, Probe]) -> Iterator[None]:
    """Run several probes at once; every one has its answers before the block begins, and none outlasts another."""
    with contextlib.ExitStack() as stack:
        for probe in probes.values():
            stack.enter_context(probe)
        yield
        for probe in probes.values():  # analysing one takes a while
            probe.halt()


def _popen(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Close its standard input, which ends it; it writes its last records first."""
    try:
        process.communicate(timeout=_ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _cpu_now() -> CpuTimes:
    with open("/proc/stat") as file:
        return CpuTimes.parse(file.readline())
