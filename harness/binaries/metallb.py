"""MetalLB's own speaker and controller, and the CustomResourceDefinitions of its Go types."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.binaries import cache, explain, gomod, programs, released, toolchain
from harness.binaries.display import Display
from harness.binaries.gocommand import Command
from harness.binaries.programs import GoProgram
from harness.cilium.semver import Version
from harness.errors import UserError
from harness.metallb.versions import KNOWN

MODULE = "go.universe.tf/metallb"
#: What a lab runs of it: main packages, and programs of the same names.
_COMMANDS = ("speaker", "controller")
#: The packages that hold its API's types.
_APIS = (f"{MODULE}/api/v1beta1", f"{MODULE}/api/v1beta2")
#: Go release line that each minor needs at least, by its go.mod.
_GO_LINE = {15: (1, 24), 16: (1, 25)}
#: The first minor whose speaker and controller take the options that a lab gives them.
_FIRST_MINOR = 15

CRDS_FILE = "crds.json"

#: controller-gen's own packages as a program; the go.mod of go/crdgen holds the same version.
CRDGEN = GoProgram("crdgen", "lblab", ("sigs.k8s.io/controller-tools",))


@dataclass(frozen=True)
class MetallbProgram:
    """MetalLB at one version: two programs, and a file of the kinds that they serve.

    Its module is generated out of MetalLB's own go.mod and kept beside the programs. Webhooks, which convert and check
    objects in a cluster, need certificates and are not used here.
    """

    release: Version
    name: str = "metallb"

    @property
    def version(self) -> str:
        """MetalLB's version."""
        return str(self.release)

    @property
    def _minimum(self) -> tuple[int, int]:
        return _GO_LINE.get(self.release.minor, toolchain.TESTED)

    @property
    def _flags(self) -> list[str]:
        return ["-trimpath", "-mod=mod", f"-ldflags={programs.STRIP}"]

    def content(self) -> str:
        """Version, flags, what makes the CRDs, and the release line of Go."""
        return cache.digest(
            [self.version, *self._flags, *_APIS, CRDGEN.content(), repr(toolchain.line_for(self._minimum))]
        )

    def make(self, folder: Path, display: Display, log: Path) -> dict[str, Any]:
        """Generate the module, compile, link, and read the CRDs out of the types."""
        crdgen = programs.provide(CRDGEN, display) / CRDGEN.name
        go = toolchain.provide(self._minimum)
        command = Command(go, folder, f"metallb {self.version}", log, display)
        got = released.fetch(command, "MetalLB", MODULE, self.version, [str(one) for one in KNOWN])
        (folder / "go.mod").write_text(gomod.render(got.requirements, self.release, module=MODULE))
        (folder / "go.sum").write_text(got.sums)
        packages = [f"{MODULE}/{name}" for name in _COMMANDS]
        stale = command.list_packages(self._flags, packages)
        if stale.code:
            raise explain.failure(command.what, stale.stderr, log)
        command.build(self._flags, folder, programs.count(stale.stdout), packages)
        display.step(f"{command.what}: reading the CustomResourceDefinitions out of its types")
        crds = _crds(crdgen, command)
        (folder / CRDS_FILE).write_text(json.dumps(crds))
        modules = (MODULE, "github.com/hashicorp/memberlist", "sigs.k8s.io/controller-runtime", "k8s.io/client-go")
        return {
            **programs.go_provenance(go, folder / "speaker", modules, self._flags),
            "go_directive": got.requirements["Go"],
            "kinds": sorted(crd["metadata"]["name"] for crd in crds),
        }


@functools.cache
def metallb(release: Version) -> MetallbProgram:
    """MetalLB at a version.

    Raises:
        UserError: The version is older than what a lab can run.
    """
    if release.line < (0, _FIRST_MINOR):
        raise UserError(
            f"MetalLB {release} cannot be run: lblab runs 0.{_FIRST_MINOR} and later",
            hint=f"known versions: {', '.join(map(str, KNOWN))}",
        )
    return MetallbProgram(release)


def _crds(crdgen: Path, command: Command) -> list[dict[str, Any]]:
    """Run crdgen in the generated module, so that it reads the very sources that were compiled."""
    environment = command.go.environment()
    environment["GOFLAGS"] = f"{environment['GOFLAGS']} -mod=mod".strip()
    done = subprocess.run(
        [crdgen, *_APIS], cwd=command.folder, env={**os.environ, **environment}, capture_output=True, check=False
    )
    if done.returncode:
        raise explain.failure(f"{command.what}'s CRDs", done.stderr.decode(errors="replace"), command.log)
    crds: list[dict[str, Any]] = json.loads(done.stdout)
    return crds
