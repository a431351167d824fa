"""Helm's charts of a lab: fetched once, rendered before anything starts, so that what refuses a value says so early."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.backends.kind import failures, options
from harness.backends.kind.tools import Tools
from harness.binaries import cache
from harness.errors import LabError, MissingCapability, UserError
from harness.yamlfile import load_documents

Argv = list[str | Path]

#: Seconds for a chart to be downloaded, and to be rendered.
_FETCHED_WITHIN, _RENDERED_WITHIN = 120.0, 60.0
#: Seconds for `helm upgrade --install`, which does not wait for what it has made.
_INSTALLED_WITHIN = 180.0
#: What Helm says when a network or a repository does not answer.
_AWAY = ("no such host", "connection refused", "i/o timeout", "timeout", "not a valid chart repository", "dial tcp",
         "failed to fetch", "403", "404", "connection reset", "network is unreachable")  # fmt: skip
#: What Helm says when a chart does not take its values: a schema, a `fail` or `required` of a template, or a type.
_REFUSED = ("schema", "execution error at", "parse error", "error calling", "cannot unmarshal", "wrong type")
#: A container's image in a rendered manifest.
_IMAGE = re.compile(r"""^[ -]*image: *["']?([^"'\s]+)""", re.MULTILINE)


@dataclass(frozen=True)
class Release:
    """A chart with its values, ready to be installed.

    Attributes:
        name: The release's name, and what is installed: "cilium".
        product: What people call it, with its version: "Cilium 1.18.0".
        chart: The chart on this machine.
        namespace: Where it goes.
        values: Values files, each on top of the one before.
        images: The images of everything that it runs.
        version: The version that the chart says that it installs.
    """

    name: str
    product: str
    chart: Path
    namespace: str
    values: tuple[Path, ...]
    images: tuple[str, ...] = ()
    version: str = ""


def fetch(tools: Tools, name: str, product: str, given: str | None, repository: str, version: str) -> Path:
    """Have a chart on this machine.

    Args:
        tools: Helm.
        name: The chart's name in a repository.
        product: What people call it, with its version, for errors.
        given: A folder, a .tgz, an `oci://` reference or a repository's URL; None is the official repository.
        repository: The official repository.
        version: The chart's version. A chart that was fetched once is not fetched again.

    Raises:
        MissingCapability: It cannot be downloaded.
        UserError: The repository has no such version.
    """
    given = None if given is None else given.replace(options.VERSION, version)
    if given is not None and options.is_local(given):
        options.check_chart(f"--{name}-chart", given)
        return Path(given).absolute()
    source = given or repository
    place = cache.root() / "charts" / re.sub(r"[^A-Za-z0-9.-]+", "_", source.partition("://")[2])
    kept = place / f"{name}-{version}.tgz"
    if kept.exists():
        return kept
    place.mkdir(parents=True, exist_ok=True)
    where = [source] if source.startswith("oci://") else [name, "--repo", source]
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=place) as scratch:
        argv: Argv = [tools.helm, "pull", *where, "--version", version, "--destination", scratch]
        done = tools.run(*argv, within=_FETCHED_WITHIN)
        found = list(Path(scratch).glob("*.tgz"))
        if done.code == 0 and found:
            return found[0].rename(kept)  # complete or not there at all: other processes may want it, too
    option = f"--{name}-chart"
    if any(sign in done.text for sign in _AWAY):
        raise MissingCapability(
            f"the chart of {product} cannot be had from {source}: {done.last(1)}",
            hint=f"give a local one: {option} FOLDER or FILE.tgz",
        )
    raise UserError(f"{source} has no chart of {product}: {done.last(2)}", hint=f"or give one: {option}")


def render(tools: Tools, release: Release, kubernetes: str) -> Release:
    """Render a release without a cluster, to see which images it needs.

    Args:
        tools: Helm.
        release: The chart and its values.
        kubernetes: The version that the cluster is going to have, as "1.34.4".

    Raises:
        UserError: The chart refuses a value, or is none.
    """
    argv: Argv = [tools.helm, "template", release.name, release.chart, "--namespace", release.namespace]
    with tempfile.TemporaryDirectory(prefix="lblab-chart-") as folder:
        # into files: on standard output warnings would be among the manifests
        more: Argv = ["--kube-version", kubernetes, "--output-dir", folder, *_values(release.values)]
        done = tools.run(*argv, *more, within=_RENDERED_WITHIN)
        if done.code:
            raise refused(release.product, done.output, release.values)
        text = "\n".join(path.read_text() for path in sorted(Path(folder).rglob("*.yaml")))
    shown = tools.run(tools.helm, "show", "chart", release.chart, within=_RENDERED_WITHIN).text
    match = re.search(r"^appVersion: *['\"]?v?([^'\"\s]+)", shown, re.MULTILINE)
    return replace(release, images=tuple(images_of(text)), version=match.group(1) if match else "")


def install(tools: Tools, release: Release, kubeconfig: Path) -> None:
    """Install a release, or change one that is installed, without waiting for what it makes.

    Args:
        tools: Helm.
        release: What `render` gave.
        kubeconfig: The cluster.

    Raises:
        LabError: Helm fails; with its last lines.
    """
    argv: Argv = [tools.helm, "upgrade", "--install", release.name, release.chart, "--namespace", release.namespace]
    more: Argv = ["--create-namespace", "--kubeconfig", kubeconfig, *_values(release.values)]
    done = tools.run(*argv, *more, within=_INSTALLED_WITHIN)
    if done.code:
        first = f"Helm did not install {release.product} (exit code {done.code}): {failures.telling(done.output)}"
        raise LabError(f"{first}\n{done.last()}")


def default_values(tools: Tools, chart: Path) -> dict[str, Any]:
    """A chart's own values."""
    done = tools.run(tools.helm, "show", "values", chart, within=_RENDERED_WITHIN)
    documents = load_documents(done.text) if done.code == 0 else []
    return documents[0].value if documents and isinstance(documents[0].value, dict) else {}


def write_values(folder: Path, name: str, values: Mapping[str, Any]) -> Path:
    """Write a values file (JSON is YAML)."""
    path = folder / f"{name}.values.json"
    path.write_text(json.dumps(values, indent=2) + os.linesep)
    return path


def merged(files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Values as Helm merges them: mappings are merged, everything else is replaced, null removes."""
    found: dict[str, Any] = {}
    for one in files:
        _merge(found, one)
    return found


def _merge(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = json.loads(json.dumps(value))


def images_of(text: str) -> list[str]:
    """The images of all containers in rendered manifests, each once."""
    return list(dict.fromkeys(_IMAGE.findall(text)))


def refused(product: str, output: Sequence[str], values: Sequence[Path]) -> UserError:
    """Say in one message why a chart cannot be rendered."""
    lines = [line.strip() for line in output if line.strip() and not line.startswith(("WARNING", "coalesce", "level="))]
    text = " ".join(line.removeprefix("Error: ") for line in lines[-6:])
    users = values[1:]
    file = users[-1] if len(users) == 1 else None
    if any(sign in text for sign in _REFUSED):
        return UserError(f"the chart of {product} refuses a value: {text}", file=file)
    return UserError(f"the chart of {product} cannot be used: {text}", file=file)


def _values(files: Iterable[Path]) -> list[str | Path]:
    return [part for file in files for part in ("--values", file)]
