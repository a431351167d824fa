"""Cilium is replaced by another version of it in a running lab, part by part, as a rolling upgrade does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from harness.cilium import versions
from harness.process import Process

if TYPE_CHECKING:
    from harness.lab import Lab


class Cilium:
    """The versions of Cilium that a lab runs; more than one while an upgrade goes on.

    Args:
        lab: The lab.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._parts = dict.fromkeys([lab.operator.name, *(node.agent.name for node in lab.nodes.values())])

    @property
    def versions(self) -> Mapping[str, str]:
        """The version of each part: the operator, and each node's agent."""
        return {part: version or self._lab.backend.cilium_version for part, version in self._parts.items()}

    @property
    def mixed(self) -> bool:
        """Whether parts of different versions run beside one another."""
        return len({*self.versions.values()}) > 1

    def upgrade_operator(self, version: str) -> int:
        """Replace the operator, which registers the CRDs of its version, and what the lab takes its API to be.

        Returns:
            When the new one was started, nanoseconds of CLOCK_MONOTONIC.

        Raises:
            UserError: there is no such version.
        """
        exact = str(versions.resolve(version))
        at = self._replace(self._lab.operator, exact)
        # what is applied from now on is checked against the API that the new operator registers
        self._lab.cilium_version = self._lab.cluster.cilium_version = exact
        return at

    def upgrade_agent(self, node: str, version: str) -> int:
        """Replace one node's agent: it ends in order (SIGTERM), and the new one starts at once.

        The programs are there before the old agent ends, as images are that were pulled beforehand.

        Returns:
            When the new one was started, nanoseconds of CLOCK_MONOTONIC.

        Raises:
            UserError: there is no such version.
        """
        return self._replace(self._lab.node(node).agent, str(versions.resolve(version)))

    def _replace(self, process: Process, version: str) -> int:
        self._lab.backend.replace(process.name, version)
        process.stop()
        at = process.start()
        self._parts[process.name] = version
        return at
