"""The commands of the kind backend, for a machine that has none: kind and helm out of their released Go modules."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.binaries import cache, explain, gomod, programs, released, toolchain
from harness.binaries.display import Display
from harness.binaries.gocommand import Command
from harness.cilium.semver import Version


@dataclass(frozen=True)
class ToolProgram:
    """One command, built as its authors release it.

    Attributes:
        name: Its name, that of its package's last folder.
        release: Its version.
        module: Its Go module.
        package: Its main package.
        minimum: The Go release line that its go.mod asks for.
        stamp: Linker flags that give it its version.
    """

    name: str
    release: Version
    module: str
    package: str
    minimum: tuple[int, int]
    stamp: str = ""

    @property
    def version(self) -> str:
        """Its version."""
        return str(self.release)

    @property
    def _flags(self) -> list[str]:
        return ["-trimpath", "-mod=mod", f"-ldflags={programs.STRIP} {self.stamp}".rstrip()]

    def content(self) -> str:
        """Version, package, flags and the release line of Go."""
        return cache.digest([self.version, self.package, *self._flags, repr(toolchain.line_for(self.minimum))])

    def make(self, folder: Path, display: Display, log: Path) -> dict[str, Any]:
        """Generate the module out of the release's own go.mod, compile and link."""
        go = toolchain.provide(self.minimum)
        command = Command(go, folder, f"{self.name} {self.version}", log, display)
        got = released.fetch(command, self.name, self.module, self.version, [self.version])
        (folder / "go.mod").write_text(gomod.render(got.requirements, self.release, module=self.module))
        (folder / "go.sum").write_text(got.sums)
        stale = command.list_packages(self._flags, [self.package])
        if stale.code:
            raise explain.failure(command.what, stale.stderr, log)
        command.build(self._flags, folder, programs.count(stale.stdout), [self.package])
        return programs.go_provenance(go, folder / self.name, (self.module,), self._flags)


#: Both have been run with Kubernetes 1.34 and Docker 20.10 to 28.
KIND = ToolProgram("kind", Version(0, 30, 0), "sigs.k8s.io/kind", "sigs.k8s.io/kind", (1, 24))
HELM = ToolProgram(
    "helm",
    Version(3, 18, 6),
    "helm.sh/helm/v3",
    "helm.sh/helm/v3/cmd/helm",
    (1, 24),
    "-X helm.sh/helm/v3/internal/version.version=v3.18.6",
)
