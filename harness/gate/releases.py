"""Which Cilium versions there are between two: releases that the module proxy lists, and commits of a git clone."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from harness.binaries import gocommand, toolchain
from harness.binaries.gomod import CILIUM_MODULE, FIRST_MINOR
from harness.cilium import semver, versions
from harness.cilium.semver import Version
from harness.errors import UserError

#: What of Cilium's tree is in lblab's programs: BGP in the agent and the operator, LB-IPAM, what both are fed with.
_PATHS = (
    "pkg/bgp",
    "pkg/bgpv1",
    "operator/pkg/bgp",
    "operator/pkg/bgpv2",
    "operator/pkg/lbipam",
    "pkg/ipalloc",
    "pkg/loadbalancer",
    "pkg/l2announcer",
    "pkg/k8s/apis/cilium.io",
    "go.mod",
)


def listed() -> list[Version]:
    """The releases that the module proxy lists; a proxy that has been asked for few of them may list only those."""
    go = toolchain.provide(toolchain.TESTED)
    done = gocommand.ask(go, "list", "-m", "-json", "-versions", f"{CILIUM_MODULE}@latest")
    said = json.loads(done.stdout) if not done.code and done.stdout.strip() else {}
    read = [semver.read(text) for text in said.get("Versions") or ()]
    return [one for one in read if one is not None and one.major == 1 and one.minor >= FIRST_MINOR]


def between(good: Version, bad: Version, more: Iterable[Version] = ()) -> list[Version]:
    """All known releases from the good to the bad version, in that direction.

    Args:
        good: One end, included.
        bad: The other end, included; older than `good` when it was mended since.
        more: Versions that are known to the user.

    Raises:
        UserError: both are the same.
    """
    if good == bad:
        raise UserError(f"good and bad are both Cilium {good}")
    low, high = min(good, bad), max(good, bad)
    known = {*versions.KNOWN, *listed(), *more, good, bad}
    # a pre-release belongs to its own minor's history, not between the releases of the one before
    row = sorted(one for one in known if low <= one <= high and (not one.pre or one in (good, bad, *more)))
    return row if good < bad else row[::-1]


def commits(clone: Path, good: Version, bad: Version) -> list[str]:
    """The commits between two releases that touch what lblab builds, in the direction from good to bad.

    Raises:
        UserError: it is no clone of Cilium, or lacks one of the tags.
    """
    low, high = f"v{min(good, bad)}", f"v{max(good, bad)}"
    base = _git(clone, "merge-base", low, high).strip()
    # the older side of a branch point has no first-parent history in common with the newer one's
    row = _git(clone, "rev-list", "--reverse", "--no-merges", f"{base}..{high}", "--", *_PATHS).split()
    return row if good < bad else row[::-1]


def of_commit(clone: Path, commit: str) -> Version:
    """The pseudo-version of a commit, as Go would name it (go.dev/ref/mod#pseudo-versions).

    It follows from the newest tag before the commit and from its time; a module proxy need not resolve the hash itself.

    Raises:
        UserError: it is no clone of Cilium, or none of its releases comes before the commit.
    """
    merged = [semver.read(tag) for tag in _git(clone, "tag", "--merged", commit, "--list", "v1.*").split()]
    base = max((tag for tag in merged if tag is not None), default=None)
    if base is None:
        raise UserError(f"no release comes before {commit[:12]}", file=clone, hint="git fetch --tags")
    format_ = ("--format=%cd", "--date=format-local:%Y%m%d%H%M%S")
    stamp = _git(clone, "show", "--no-patch", *format_, commit).strip()
    name = f"{stamp}-{commit[:12]}"
    if base.pre:
        return replace(base, commit=name)
    return replace(base, patch=base.patch + 1, commit=name)


def _git(clone: Path, *arguments: str) -> str:
    command: Sequence[str] = ["git", "-C", str(clone), *arguments]
    environment = {**os.environ, "TZ": "UTC"}
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        hint = "git clone --filter=blob:none https://github.com/cilium/cilium"
        raise UserError(f"it is no clone of Cilium with these tags: {said.strip()}", file=clone, hint=hint) from error
