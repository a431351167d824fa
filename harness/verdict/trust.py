"""Whether a run may be believed: foreign load, the prober's own jitter, trouble with the clock.

A run that may not be believed is untrusted: it has neither passed nor failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

#: Share of all cores that programs outside the lab may use. With more, the lab's daemons and probes wait for the CPU
#: about as long as the timers that are measured differ from run to run (a quarter of two cores is half a core).
FOREIGN_CPU = 0.25

#: Share of the time in which the hypervisor kept a core from this machine.
STEAL = 0.05

#: The p99 of the prober's spacing may exceed the send interval by this, ms: the resolution that lblab promises.
JITTER_MS = 2.0

#: Share of kernel stamps that had to be replaced by the time of reading.
REPLACED_STAMPS = 0.01


@dataclass(frozen=True)
class CpuTimes:
    """The first line of /proc/stat, in clock ticks since boot, summed over all cores."""

    user: int
    nice: int
    system: int
    idle: int
    iowait: int
    irq: int
    softirq: int
    steal: int

    @classmethod
    def parse(cls, line: str) -> CpuTimes:
        """Read the line that begins with `cpu`; guest times are part of user and nice already."""
        name, *numbers = line.split()
        if name != "cpu" or len(numbers) < 8:
            raise ValueError(f"not the cpu line of /proc/stat: {line!r}")
        return cls(*(int(number) for number in numbers[:8]))

    def __sub__(self, earlier: CpuTimes) -> CpuTimes:
        return CpuTimes(*(getattr(self, name) - getattr(earlier, name) for name in CpuTimes.__dataclass_fields__))

    @property
    def busy(self) -> int:
        """Ticks in which a core of this machine worked."""
        return self.user + self.nice + self.system + self.irq + self.softirq

    @property
    def total(self) -> int:
        """All ticks."""
        return self.busy + self.idle + self.iowait + self.steal


@dataclass(frozen=True)
class Load:
    """CPU time used during a run, as shares of all cores."""

    lab: float
    foreign: float
    steal: float


@dataclass(frozen=True)
class ProbeQuality:
    """What a prober says of itself (the end of its records and its analysis)."""

    interval_ms: float
    spacing_p99_ms: float
    own_gap_ms: float = 0.0  # longest time without a packet of its own, where it matters for the question
    stamps: int = 0
    stamps_replaced: int = 0
    clock_steps: int = 0
    socket_drops: int = 0


@dataclass(frozen=True)
class Trust:
    """The verdict on a run, with every reason against it and the figures it was made from."""

    trusted: bool
    reasons: tuple[str, ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "trusted" if self.trusted else "untrusted: " + "; ".join(self.reasons)


def load(before: CpuTimes, after: CpuTimes, lab_ticks: int) -> Load:
    """How the machine's CPU time was used between two readings.

    Args:
        before: /proc/stat at the beginning.
        after: /proc/stat at the end.
        lab_ticks: CPU time of the lab's own processes in the same time, ended ones included, in clock ticks.
    """
    used = after - before
    total = max(used.total, 1)
    foreign = max(used.busy - lab_ticks, 0)  # the two are not read in the same instant
    return Load(lab=lab_ticks / total, foreign=foreign / total, steal=used.steal / total)


def judge(
    *,
    cpu: Load | None = None,
    probes: Sequence[ProbeQuality] = (),
    resolution_ms: float = JITTER_MS,
    realtime_steps: int = 0,
) -> Trust:
    """Whether the figures of a run may be believed.

    Args:
        cpu: How CPU time was used; None: not known, which is no reason against it.
        probes: The probers of the run.
        resolution_ms: How finely outages have to be known for what is asked; coarser questions bear more jitter.
        realtime_steps: Steps of the wall clock that others have seen.
    """
    reasons: list[str] = []
    figures: dict[str, Any] = {}
    if cpu is not None:
        figures |= {"foreign_cpu": round(cpu.foreign, 3), "lab_cpu": round(cpu.lab, 3), "steal": round(cpu.steal, 3)}
        if cpu.foreign > FOREIGN_CPU:
            reasons.append(f"other programs used {cpu.foreign:.0%} of all cores (limit {FOREIGN_CPU:.0%})")
        if cpu.steal > STEAL:
            reasons.append(f"the hypervisor took {cpu.steal:.0%} of the cores' time (limit {STEAL:.0%})")
    limit = max(resolution_ms, JITTER_MS)
    for probe in probes:
        jitter = probe.spacing_p99_ms - probe.interval_ms
        figures["probe_jitter_ms"] = round(max(figures.get("probe_jitter_ms", 0.0), jitter), 3)
        figures["own_gap_ms"] = round(max(figures.get("own_gap_ms", 0.0), probe.own_gap_ms), 3)
        if jitter > limit:
            reasons.append(f"the prober sent up to {jitter:.1f} ms late (p99; limit {limit:g} ms)")
        if probe.own_gap_ms > limit:
            reasons.append(f"the prober itself sent nothing for {probe.own_gap_ms:.1f} ms (limit {limit:g} ms)")
        if probe.socket_drops:
            reasons.append(f"the prober's socket dropped {probe.socket_drops} replies")
        if probe.stamps and probe.stamps_replaced > REPLACED_STAMPS * probe.stamps:
            reasons.append(f"{probe.stamps_replaced} of {probe.stamps} receive stamps were not to be used")
    steps = realtime_steps + sum(probe.clock_steps for probe in probes)
    if steps:
        reasons.append(f"the wall clock was stepped {steps} times")
    return Trust(not reasons, tuple(reasons), figures)
