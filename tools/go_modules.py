"""Checks lblab's own Go: `tools/go_modules.py lint` asks gofmt and go vet, `test` runs the unit tests.

The Go is the one that builds the labs' programs, and so are the flags: what a build has compiled is not compiled again.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness import doctor
from harness.binaries import toolchain
from harness.errors import LblabError

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ROOT / "harness" / "binaries" / "go"
#: Modules that are lblab's own; go/kube and go/cilium only put together what others wrote, and compile for minutes.
OWN = (SOURCES / "lablet", SOURCES / "node-agent")


def lint(go: toolchain.Go) -> int:
    """Say which files gofmt would change, and what go vet finds; returns how many of both checks failed."""
    files = sorted(map(str, (ROOT / "harness").rglob("*.go")))
    listed = subprocess.run([go.path.parent / "gofmt", "-l", *files], capture_output=True, text=True, check=False)
    print(listed.stdout + listed.stderr, end="")
    print(f"gofmt: {len(listed.stdout.splitlines())} of {len(files)} files would be changed", flush=True)
    return (listed.stdout + listed.stderr != "") + _each(go, "vet")


def test(go: toolchain.Go) -> int:
    """Run the unit tests; returns in how many modules they failed."""
    return _each(go, "test")


def _each(go: toolchain.Go, verb: str) -> int:
    failed = 0
    for module in OWN:
        print(f"go {verb}: {module.relative_to(ROOT)}", flush=True)
        command = [str(go.path), verb, "-trimpath", "-mod=readonly", "./..."]
        failed += subprocess.run(command, cwd=module, env=go.environment(), check=False).returncode != 0
    return failed


def main() -> int:
    """Run what the command line names."""
    actions = {"lint": lint, "test": test}
    if len(sys.argv) != 2 or sys.argv[1] not in actions:
        print(f"usage: {Path(__file__).name} {'|'.join(actions)}", file=sys.stderr)
        return 2
    major, minor, *_ = doctor.go_wanted(module / "go.mod" for module in OWN)
    try:
        return 1 if actions[sys.argv[1]](toolchain.provide((major, minor))) else 0
    except LblabError as error:
        print(f"lblab: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
