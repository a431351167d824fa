"""`lblab lag`: which mechanisms of periodic lag one's own site is open to."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.commands.common import JsonOption, print_json
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
    as_json: JsonOption = False,
) -> None:
    """Say which mechanisms of periodic lag a site is open to, and why.

    With --topology the site is written as a lab, for `lblab up DIR/topology.yaml`.
    """
    if context.invoked_subcommand is not None:
        return
    from harness.errors import UserError
    from harness.report import site as report
    from harness.site import draw
    from harness.site.exposure import exposures, notes
    from harness.site.read import read

    if not manifests:
        raise UserError("which manifests?", hint="lblab lag --manifests DIR --opnsense config.xml, or lblab lag --help")
    if topology is not None and opnsense is None:
        raise UserError("a lab of the site needs its router", hint="--opnsense config.xml")
    site = read(manifests, opnsense)
    found, said = exposures(site), notes(site)
    if topology is not None:
        drawn = draw.draw(site, draw.load(manifests))
        file = drawn.write(topology)
        said += [f"in the lab: {change}" for change in drawn.changes] + [f"lblab up {file}"]
    print_json(report.facts(site, found, said)) if as_json else print(report.render(site, found, said))
