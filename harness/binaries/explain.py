"""What a failed Go command means to the person who waits for the build: one sentence out of pages of output."""

from __future__ import annotations

import errno
from pathlib import Path

from harness.errors import UserError

#: How much a first build writes: Go's build cache and modules of Kubernetes and one Cilium version (measured).
NEEDED_SPACE = "5 GB"

#: Error numbers of a full disk or a used up quota.
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_SPACE = ("no space left on device", "disk quota exceeded")
_NO_NETWORK = (
    "no such host",
    "connection refused",
    "network is unreachable",
    "i/o timeout",
    "TLS handshake timeout",
    "Temporary failure in name resolution",
    "no route to host",
    "connection reset by peer",
    "module lookup disabled by GOPROXY=off",
)
_NOT_THERE = ("404 Not Found", "403 Forbidden", "410 Gone", "unknown revision", "no matching versions", "not found:")
_NOISE = ("go: downloading ", "go: finding ", "go: added ", "go: upgraded ", "#", "note:", "too many errors")
#: A line of an error that is quoted in one sentence is no longer than this.
_QUOTED = 300


def is_missing(output: str) -> bool:
    """Whether a module or a version of it is not served, as opposed to a network that does not work."""
    return any(sign in output for sign in _NOT_THERE) and not is_offline(output)


def is_offline(output: str) -> bool:
    """Whether the output tells of a network that does not work."""
    return any(sign in output for sign in _NO_NETWORK)


def is_full(output: str) -> bool:
    """Whether the output tells of a disk that is full."""
    return any(sign in output for sign in _NO_SPACE)


def telling_lines(output: str, count: int = 3) -> list[str]:
    """The lines of a Go command's output that say why it failed, at most `count`."""
    lines = (line.strip() for line in output.splitlines())
    # a line of one word is a package that -v names when its compilation starts; some are called errors
    telling = [line for line in lines if " " in line and not line.startswith(_NOISE)]
    errors = [line for line in telling if ".go:" in line or "error" in line.lower() or line.startswith("go:")]
    return (errors or telling)[:count]


def failure(what: str, output: str, log: Path | None = None) -> UserError:
    """Explain a build that failed.

    Args:
        what: What was being built, as "cilium 1.18.0".
        output: All that the Go command wrote.
        log: Where that is kept.
    """
    if is_full(output):
        return no_space(what)
    if is_offline(output):
        return UserError(
            f"{what} cannot be built: its Go modules cannot be downloaded, the network does not answer",
            file=log,
            hint="set GOPROXY to a module proxy that this machine reaches",
        )
    if "requires go >=" in output:
        line = next(line.strip() for line in output.splitlines() if "requires go >=" in line)
        return UserError(f"{what} cannot be built: {line[:_QUOTED]}", file=log, hint="install a newer Go")
    if "signal: killed" in output:
        return UserError(
            f"{what} cannot be built: the compiler was killed, most likely for lack of memory",
            file=log,
            hint="build again with GOFLAGS=-p=1; what is compiled already is kept",
        )
    lines = telling_lines(output)
    reason = "; ".join(lines)[:_QUOTED] or "the Go command says nothing"
    return UserError(f"{what} cannot be built: {reason}", file=log)


def no_space(what: str) -> UserError:
    """The disk is full."""
    return UserError(
        f"{what} cannot be built: the disk is full",
        hint=f"a first build needs about {NEEDED_SPACE}; XDG_CACHE_HOME and GOCACHE may point to another disk",
    )


def no_such_version(product: str, wanted: str, known: list[str], output: str) -> UserError:
    """A version that nobody serves.

    Args:
        product: Of what: Cilium.
        wanted: The version asked for.
        known: Versions that are known to exist, ascending.
        output: What the module proxy said: some of them refuse what they do not hold, whether it exists or not.
    """
    minor = ".".join(wanted.split(".")[:2])
    same = [one for one in known if one.startswith(minor + ".")]
    newest = same[-1] if same else known[-1]
    of = f" of {minor}" if same else ""
    refused = ", or this machine's module proxy does not serve it" if "403 Forbidden" in output else ""
    return UserError(f"{product} {wanted} does not exist{refused}: the newest known{of} is {newest}")
