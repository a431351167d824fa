"""Tests of exactness: what a busy machine or its hypervisor takes, nobody can measure around."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from harness.verdict.trust import STEAL, CpuTimes

#: How often a test marked `timing` is tried: a core that was away for milliseconds once says nothing of the instrument.
_TRIES = 3


def _cpu_times() -> CpuTimes:
    return CpuTimes.parse(Path("/proc/stat").read_text().partition("\n")[0])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A test marked `timing` has to hold once in three times; while the hypervisor takes the cores it is skipped.

    How many tries it took stands in the JUnit report, as the property `tries`.
    """
    if item.get_closest_marker("timing") is None:
        return (yield)
    before = _cpu_times()
    try:
        return (yield)
    except AssertionError as error:
        failure = error
    for tries in range(2, _TRIES + 1):
        try:
            item.runtest()
        except AssertionError as error:
            failure = error
        else:
            item.user_properties.append(("tries", tries))
            return None
    used = _cpu_times() - before
    taken = used.steal / max(used.total, 1)
    if taken > STEAL:
        pytest.skip(f"untrusted, the hypervisor took {taken:.0%} of the cores' time: {str(failure).splitlines()[0]}")
    raise failure
