"""The `lblab` command."""

from __future__ import annotations

import os
import sys

import typer

from harness.commands import (
    bisect,
    build,
    compare,
    conform,
    diagnose,
    doctor,
    fault,
    graph,
    history,
    hosts,
    images,
    labs,
    lag,
    migrate,
    objects,
    probe,
    report,
    schema,
    scorecard,
    status,
    timeline,
    up,
    upgrade,
)
from harness.errors import LblabError

app = typer.Typer(
    name="lblab",
    help="Labs that measure what clients lose when a Kubernetes LoadBalancer address is announced by BGP or by L2.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich would double the time that `lblab --help` takes
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(up.up)
app.command()(status.status)
app.command()(objects.apply)
app.command()(objects.delete)
app.add_typer(fault.app, name="fault")
app.command()(probe.probe)
app.command("exec")(hosts.exec_)
app.command()(hosts.logs)
app.command()(scorecard.scorecard)
app.add_typer(lag.app, name="lag")
app.command()(compare.compare)
app.command()(bisect.bisect)
app.command()(upgrade.upgrade)
app.command()(report.report)
app.command()(history.history)
app.command()(migrate.migrate)
app.command()(timeline.timeline)
app.command()(diagnose.diagnose)
app.command()(graph.graph)
app.command()(conform.conform)
app.add_typer(images.app, name="images")
app.command()(labs.down)
app.command("list")(labs.list_)
app.command()(doctor.doctor)
app.command()(schema.schema)
app.command()(build.build)


def main() -> None:
    """Run the command line; lblab's errors are one sentence on stderr, with the error's exit code."""
    try:
        app()
    except LblabError as error:
        print(f"lblab: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of a pipe (`lblab logs | head`) has gone; what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


if __name__ == "__main__":
    main()
