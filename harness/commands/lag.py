"""`lblab lag`: which mechanisms of periodic lag one's own site is open to."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import JsonOption, print_json, progress
from harness.commands.lag_matrix import matrix

app = typer.Typer(
    help="Periodic lag: what one's own site is open to.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(matrix)


@app.callback(invoke_without_command=True)
def lag(
    context: typer.Context,
    manifests: Annotated[
        list[Path] | None,
        typer.Option(metavar="DIR", help="Manifests of the site: pools, policies, services. May be repeated."),
    ] = None,
    opnsense: Annotated[Path | None, typer.Option(metavar="FILE", help="The router's config.xml.")] = None,
    topology: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a topology and manifests of the site for a lab there.")
    ] = None,
    run: Annotated[
        bool, typer.Option("--run", help="Bring a lab of the site up, and run it through the mechanisms: minutes.")
    ] = False,
    cilium_version: Annotated[str | None, typer.Option(help="Of that lab: exact, a minor, or auto.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Say which mechanisms of periodic lag a site is open to, and why.

    With --run a lab of the site goes through those that need nothing but the site itself. With --topology that lab is
    written down, for `lblab up DIR/topology.yaml`.
    """
    if context.invoked_subcommand is not None:
        return
    from harness.errors import UserError
    from harness.report import site as report
    from harness.site import draw
    from harness.site.exposure import exposures, notes
    from harness.site.read import read
    from harness.site.run import Result
    from harness.site.run import run as run_site

    if not manifests:
        raise UserError("which manifests?", hint="lblab lag --manifests DIR --opnsense config.xml, or lblab lag --help")
    if (topology is not None or run) and opnsense is None:
        raise UserError("a lab of the site needs its router", hint="--opnsense config.xml")
    site = read(manifests, opnsense)
    found, said = exposures(site), notes(site)
    results: list[Result] = []
    if topology is not None or run:
        drawn = draw.draw(site, draw.load(manifests))
        said += [f"in the lab: {change}" for change in drawn.changes]
        with tempfile.TemporaryDirectory(prefix="lblab-site-") as temporary:
            file = drawn.write(topology or Path(temporary))
            if run:
                opened = [each.mechanism for each in found if each.open]
                with progress("lag", quiet=as_json) as tell:
                    results = run_site(file, opened, tell, cilium_version=cilium_version)
        if topology is not None:
            said.append(f"lblab up {file}")
    if as_json:
        print_json(report.facts(site, found, said, results))
    else:
        print(report.render(site, found, said, results))
