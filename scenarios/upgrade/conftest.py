"""What scenarios about known regressions share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.cilium import semver, versions
from harness.errors import MissingCapability
from harness.lab import Lab


@pytest.fixture
def known_bad(request: pytest.FixtureRequest, lab: Lab) -> Callable[[str, str], None]:
    """Expect the scenario to fail from a Cilium version on, with the issue as the reason.

    In `lblab compare` an expected failure counts like any other. It is not strict, as a version in which the fault is
    mended passes: that is an improvement to be told of, not a failure.
    """

    def expect(since: str, reason: str) -> None:
        if semver.parse(lab.cilium_version) >= semver.parse(since):
            request.node.add_marker(pytest.mark.xfail(reason=reason, strict=False))

    return expect


@pytest.fixture
def target(request: pytest.FixtureRequest, lab: Lab) -> str:
    """The Cilium version that the lab is upgraded to: `--upgrade-to`, or the newest release of the next known minor."""
    asked = request.config.getoption("upgrade_to")
    if asked is not None:
        return str(versions.resolve(asked))
    now = semver.parse(lab.cilium_version)
    later = [known for known in versions.KNOWN if known.line > now.line]
    if not later:
        raise MissingCapability(f"lblab knows nothing newer than Cilium {now}", hint="--upgrade-to VERSION")
    return str(max(known for known in later if known.line == min(later).line))
