"""What a lab is to be, once everything is decided and before anything is started."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.backends.kind.options import KindOptions
from harness.manifests import Manifest
from harness.topology import Topology


@dataclass(frozen=True)
class Request:
    """A lab that is wanted.

    Attributes:
        name: Its name, unique among this user's labs.
        topology: What to build.
        topology_file: Where that was read from; whoever attaches to the lab reads it again.
        cilium_version: The exact Cilium version.
        metallb_version: The exact MetalLB version, None without MetalLB.
        metallb_manifest: A file with MetalLB's CustomResourceDefinitions, instead of those of its Go types.
        objects: The user's manifests, which are applied when the lab is up.
        owned: Whether it ends with this process; otherwise it stays until it is closed by name.
        build: Whether missing programs are built.
        progress: Told each stage.
        kind: The choices that only a lab of kind has.
    """

    name: str
    topology: Topology
    topology_file: Path
    cilium_version: str
    metallb_version: str | None = None
    metallb_manifest: Path | None = None
    objects: Sequence[Manifest] = ()
    owned: bool = True
    build: bool = True
    progress: Callable[[str], None] = lambda _: None
    kind: KindOptions = field(default_factory=KindOptions)
