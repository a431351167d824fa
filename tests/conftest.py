"""Tests of exactness are as good as the machine's clock ticks: what a hypervisor takes, nobody can measure around."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from harness.verdict.trust import STEAL, CpuTimes


def _cpu_times() -> CpuTimes:
    return CpuTimes.parse(Path("/proc/stat").read_text().partition("\n")[0])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test marked `timing` that fails while the hypervisor takes the cores away is untrusted: skipped, with why."""
    if item.get_closest_marker("timing") is None:
        return (yield)
    before = _cpu_times()
    try:
        return (yield)
    except AssertionError as error:
        used = _cpu_times() - before
        taken = used.steal / max(used.total, 1)
        if taken > STEAL:
            pytest.skip(f"untrusted, the hypervisor took {taken:.0%} of the cores' time: {str(error).splitlines()[0]}")
        raise
