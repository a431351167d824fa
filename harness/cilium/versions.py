"""Which Cilium a lab runs: the releases that are known, and the choice among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from harness import manifests as manifest_files
from harness.cilium import api
from harness.cilium.semver import Version, parse, parse_line
from harness.errors import UserError
from harness.manifests import Manifest
from harness.topology import Topology

#: The releases that lblab has been built and run with, in ascending order; another release of a known minor is taken
#: too, as its API and its build are the minor's.
KNOWN = tuple(
    parse(text) for text in ("1.14.19", "1.15.1", "1.15.19", "1.16.0", "1.17.0", "1.18.0", "1.19.4", "1.20.1", "1.20.2")
)


@dataclass(frozen=True)
class Choice:
    """Manifests of which one set is applied: the first that the Cilium version serves.

    Attributes:
        alternatives: The sets, the preferred one first; mostly there is one.
    """

    alternatives: tuple[tuple[Manifest, ...], ...]

    @classmethod
    def of(cls, manifests: Iterable[Manifest]) -> Choice:
        """No choice: these."""
        return cls((tuple(manifests),))

    def served_by(self, version: Version) -> tuple[Manifest, ...] | None:
        """The first alternative that a version serves, or None."""
        return next((one for one in self.alternatives if api.serves(one, version)), None)


def choices(topology: Topology) -> tuple[Choice, ...]:
    """The manifests of a topology, read.

    Raises:
        UserError: a manifest cannot be read.
    """
    return tuple(
        Choice(tuple(tuple(manifest_files.load(path)) for path in choice.first_served)) for choice in topology.manifests
    )


def resolve(wanted: str, manifests: Iterable[Choice] = ()) -> Version:
    """Find the exact version that is meant.

    Args:
        wanted: `1.18.0` (any release of a known minor), `1.18` (its newest known release) or `auto` (the newest known
            release that serves every Cilium kind and field of the manifests).
        manifests: What will be applied; only `auto` looks at it, `select` checks it.

    Raises:
        UserError: not a version, not a known one, or no version serves the manifests.
    """
    if wanted == "auto":
        return _newest_serving([*_each(manifests)])
    line = parse_line(wanted)
    version = parse(wanted) if line is None else None
    of_minor = [known for known in KNOWN if known.line == (version.line if version else line)]
    if not of_minor:
        listed = ", ".join(map(str, KNOWN))
        minors = f"{KNOWN[0].minor_text} to {KNOWN[-1].minor_text}"
        message = f"Cilium {wanted.removeprefix('v')} is not a version that lblab knows"
        raise UserError(message, hint=f"tried: {listed}; other releases of {minors} are taken too")
    return version or of_minor[-1]


def select(manifests: Iterable[Choice], version: Version) -> list[Manifest]:
    """The manifests to apply with a Cilium version, in order.

    Raises:
        UserError: the version does not serve one of them; says which versions do and what replaces it.
    """
    selected: list[Manifest] = []
    for choice in manifests:
        served = choice.served_by(version)
        if served is None:
            raise _not_served(choice, version)
        selected += served
    return selected


def _not_served(choice: Choice, version: Version) -> UserError:
    first = [next(error for one in each for error in api.complaints(one, version)) for each in choice.alternatives]
    if len(first) == 1:
        return first[0]
    files = ", ".join(str(each[0].file) for each in choice.alternatives)
    return UserError(f"none of {files} is served by Cilium {version}", hint=str(first[-1]))


def _each(manifests: Iterable[Choice]) -> Iterator[Choice]:
    """Every object on its own where there is no choice, so that a conflict can name two objects."""
    for choice in manifests:
        if len(choice.alternatives) == 1:
            yield from (Choice.of([manifest]) for manifest in choice.alternatives[0])
        else:
            yield choice


def _newest_serving(needs: Sequence[Choice]) -> Version:
    serving = [{version for version in KNOWN if need.served_by(version)} for need in needs]
    common = set(KNOWN).intersection(*serving)
    if common:
        return max(common)
    for need, versions in zip(needs, serving, strict=True):
        if not versions:
            raise _not_served(need, KNOWN[-1])
    for (one, ones), (other, others) in combinations(zip(needs, serving, strict=True), 2):
        if not ones & others:
            first, second = one.alternatives[0][0], other.alternatives[0][0]
            message = f"{_called(first)} and {_called(second)} are served by no Cilium version together"
            place = f" ({second.file}:{second.line})" if second.file else ""
            hint = f"{first} needs {_spoken(ones)}, {second}{place} needs {_spoken(others)}"
            raise first.error(message, hint=hint)
    raise UserError(
        "no Cilium version serves all of the manifests", hint="give a version to see what it does not serve"
    )


def _called(manifest: Manifest) -> str:
    return f"{manifest} ({manifest.api_version})"


def _spoken(versions: set[Version]) -> str:
    first, last = min(versions).minor_text, max(versions).minor_text
    return f"Cilium {first}" if first == last else f"Cilium {first} to {last}"
