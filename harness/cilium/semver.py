"""Version numbers of Cilium and MetalLB: read, compared, written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import total_ordering

from harness.errors import UserError

_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:-((?:pre|rc|snapshot)\.\d+))?(?:(?<=\d)[-.]0\.(\d{14}-[0-9a-f]{12}))?")
_STAGES = ("snapshot", "pre", "rc", "")


@total_ordering
@dataclass(frozen=True)
class Version:
    """A release, as 1.18.0 or 1.18.0-pre.2; a pre-release comes before its release.

    Attributes:
        major: The major release.
        minor: The feature release.
        patch: The bug-fix release.
        pre: `pre.N`, `rc.N` or `snapshot.N`; empty for a release.
        commit: Time and hash of a commit that was never released, as in the pseudo-versions of Go's modules
            (go.dev/ref/mod#pseudo-versions): 1.18.1-0.20250801093000-0123456789ab comes after 1.18.0 and before 1.18.1.
    """

    major: int
    minor: int
    patch: int
    pre: str = ""
    commit: str = ""

    @property
    def line(self) -> tuple[int, int]:
        """Major and minor number: what decides which API is served and how Cilium is built."""
        return self.major, self.minor

    @property
    def minor_text(self) -> str:
        """Major and minor number as people say them: `1.18`."""
        return f"{self.major}.{self.minor}"

    def __str__(self) -> str:
        release = f"{self.major}.{self.minor}.{self.patch}" + (f"-{self.pre}" if self.pre else "")
        return release + (f"{'.' if self.pre else '-'}0.{self.commit}" if self.commit else "")

    def __lt__(self, other: Version) -> bool:
        return self._order() < other._order()

    def _order(self) -> tuple[int, int, int, int, int, str]:
        stage, _, number = self.pre.partition(".")
        before_all = self.commit and not self.pre
        place = -1 if before_all else _STAGES.index(stage)
        return self.major, self.minor, self.patch, place, int(number or 0), self.commit


def parse(text: str) -> Version:
    """Read an exact version; a leading `v` is allowed.

    Raises:
        UserError: it is not of that form.
    """
    version = read(text)
    if version is None:
        raise UserError(f'"{text}" is not a Cilium version', hint='as "1.20.2", "1.18" or "auto"')
    return version


def read(text: str) -> Version | None:
    """Read an exact version; None when it is not of that form."""
    match = _VERSION.fullmatch(text.strip())
    if match is None:
        return None
    major, minor, patch, pre, commit = match.groups()
    return Version(int(major), int(minor), int(patch), pre or "", commit or "")


def parse_line(text: str) -> tuple[int, int] | None:
    """Read a minor as `1.18` or `v1.18`; None when it is not of that form."""
    match = re.fullmatch(r"v?(\d+)\.(\d+)", text.strip())
    return (int(match[1]), int(match[2])) if match else None
