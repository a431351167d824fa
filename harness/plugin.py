"""The pytest plugin: options, the fixtures that scenarios use, and what a run leaves behind.

Scenarios are ordinary tests below `scenarios/`. They see `lab`, `topology`, `nodes`, `router` and `client`; a scenario
that needs another topology or a lab of its own says so: `@pytest.mark.lab(topology="two-routers", fresh=True)`.

What the machine lacks skips a scenario by name (with `--strict` it fails); bad input is one sentence and exit code 4,
pytest's code for a usage error, or under xdist one sentence for each scenario that needed it.

Everything heavy is imported when a scenario asks for a lab, as pytest loads this module in every run on the machine.
"""

from __future__ import annotations

import contextlib
import json
import operator
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from harness.backends.kind import doors
from harness.errors import LblabError, MissingCapability, Untrusted, UserError
from harness.testing import explain, junit, kept, results, summary, timelines, wishes
from harness.testing.pool import LabFacts, LabPool, Settings

if TYPE_CHECKING:
    from harness.client import Client
    from harness.expect import Expect
    from harness.lab import Lab
    from harness.node import Node
    from harness.router import Router
    from harness.topology import Topology

_HARNESS = str(Path(__file__).parent)
_facts = pytest.StashKey[list[dict[str, Any]]]()
_checked = pytest.StashKey[set[Path]]()
_record = pytest.StashKey[results.Record]()
_told = pytest.StashKey[Sequence[str]]()


# -- options ---------------------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add lblab's options. `--strict` is pytest's own; with lblab it also turns missing capabilities into failures."""
    group = parser.getgroup("lblab", "labs that measure how a LoadBalancer address is announced")
    group.addoption("--lab-backend", choices=("netns", "kind"), default="netns", help="where labs come to life")
    group.addoption(
        "--topology", metavar="FILE", help=f"topology of scenarios that name none (default: {wishes.DEFAULT_TOPOLOGY})"
    )
    group.addoption("--cilium-version", metavar="V", default="auto", help="Cilium version, minor, or auto (default)")
    group.addoption("--upgrade-to", metavar="V", help="Cilium version that scenarios of upgrades replace it with")
    group.addoption(
        "--metallb-version", metavar="V", default="auto", help="MetalLB version, minor, or auto (default): the newest"
    )
    group.addoption("--metallb-manifest", metavar="FILE", help="MetalLB's CRDs, instead of those of its Go types")
    group.addoption(
        "--manifests",
        metavar="PATH",
        action="append",
        default=[],
        help="a file or folder applied instead of the topology's manifests; repeatable",
    )
    group.addoption(
        "--timers",
        choices=("quick", "whole-agent", "manifest"),
        default="quick",
        help="BGP timers: cut down to hold 3 s, restart 6 s (quick, default; on kind as whole-agent), restart 12 s "
        "(whole-agent), or the manifests' own",
    )
    doors.add_to_pytest(group)
    group.addoption("--runs", type=int, default=1, metavar="N", help="runs of each measurement (default 1)")
    group.addoption("--keep-lab", action="store_true", help="leave labs up; the first failed scenario's as it failed")
    group.addoption("--no-build", action="store_true", help="fail instead of building missing programs")
    group.addoption("--lab-attach", metavar="NAME", help="kind: use the cluster of a lab that runs, and let it stay")
    kept.add_options(group)
    group.addoption(
        "--lab-name", metavar="NAME", help="name of the lab (with xdist and for further labs: its beginning)"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Check the options before anything is collected, and register the marker."""
    config.addinivalue_line(
        "markers",
        "lab(topology=None, timers=None, fresh=False, time_scale=None): a scenario's topology (a name or file), "
        "timers, a lab of its own, another time scale",
    )
    config.addinivalue_line(
        "markers",
        "scorecard(event, **columns): its outages stand in the table at the end, under the column of each probe's name",
    )
    config.addinivalue_line("markers", "gate: one of the quick scenarios that `lblab compare` runs, of every family")
    facts: list[dict[str, Any]] = []
    known: set[Path] = set()
    config.stash[_facts] = facts
    config.stash[_checked] = known
    if _worker(config) is not None:
        kept.join(config)
        return
    with _usage_errors():
        kept.start(config)
        for path in (*config.getoption("manifests"), config.getoption("metallb_manifest")):
            if path is not None and not Path(path).exists():
                raise UserError("there is no such file or folder", file=path)
        if config.getoption("metallb_version") != "auto":
            from harness.metallb import versions as metallb

            metallb.resolve(config.getoption("metallb_version"))
        doors.of_pytest(config)
        if config.getoption("topology") is not None:
            _check(config, {wishes.find_topology(config.getoption("topology"), config.rootpath)})


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Bring scenarios of one topology together, as a change of topology costs a new lab; the order stays otherwise."""
    wishes.bring_together(items)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Check what the collected scenarios need before the first one runs, so that bad input is one sentence."""
    if _worker(session.config) is None and not session.config.getoption("collectonly"):
        with _usage_errors():
            _check(session.config, {wishes.of(item).topology for item in session.items if wishes.uses_lab(item)})


def _check(config: pytest.Config, topologies: Iterable[Path]) -> None:
    known = config.stash[_checked]
    wishes.check(config, set(topologies) - known)
    known |= set(topologies)


@contextlib.contextmanager
def _usage_errors() -> Iterator[None]:
    """Turn bad input into pytest's usage error: one sentence, exit code 4."""
    try:
        yield
    except UserError as error:
        raise pytest.UsageError(str(error)) from None


def _worker(config: pytest.Config) -> str | None:
    """Return the id of this xdist worker, None in the process that the user started."""
    workerinput: Mapping[str, Any] | None = getattr(config, "workerinput", None)
    return None if workerinput is None else str(workerinput["workerid"])


# -- fixtures --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def _labs(request: pytest.FixtureRequest) -> Iterator[LabPool]:
    config = request.config
    settings = Settings(
        backend=config.getoption("lab_backend"),
        cilium_version=wishes.cilium_version(config),
        metallb_version=config.getoption("metallb_version"),
        metallb_manifest=Path(given).resolve() if (given := config.getoption("metallb_manifest")) else None,
        manifests=tuple(Path(path).resolve() for path in config.getoption("manifests")),
        kind=doors.of_pytest(config),
        name=config.getoption("lab_name"),
        build=not config.getoption("no_build"),
        keep=config.getoption("keep_lab"),
        worker=_worker(config),
        attach=config.getoption("lab_attach"),
    )

    def on_up(facts: LabFacts, provenance: Mapping[str, Any]) -> None:
        config.stash[_facts].append(facts.as_dict())
        if (path := config.getoption("lab_results")) is not None:
            results.append(Path(path), results.lab_line(facts.as_dict(), provenance))

    pool = LabPool(settings, lambda text: _tell(config, text), on_up=on_up)
    yield pool
    for up in pool.close():
        _tell(config, f"{up.name} stays up: KUBECONFIG={up.kubeconfig}; lblab down --lab {up.name}")


@pytest.fixture
def lab(request: pytest.FixtureRequest, _labs: LabPool) -> Iterator[Lab]:
    """The lab of this scenario, clean and up; afterwards it is brought back to how it was, and that is checked."""
    wish = wishes.of(request.node)
    given = _labs.take(wish.topology, timers=wish.timers, fresh=wish.fresh, time_scale=wish.time_scale)
    facts = _labs.facts[given.name]
    record = request.node.stash.setdefault(_record, results.Record(request.node.nodeid))
    record.lab = facts.as_dict()
    request.node.user_properties.extend(junit.of_lab(record.lab))
    record.begin_ns = time.monotonic_ns()
    yield given
    _keep_timeline(request.config, record, given)
    record.put_back = _labs.give_back(given, failed=record.outcome == "failed")
    if record.put_back:
        request.node.user_properties.append(("lab.put_back", "; ".join(record.put_back)))


@pytest.fixture
def expect(request: pytest.FixtureRequest) -> Iterator[Expect]:
    """What the scenario expects of its outages; every figure goes into its record."""
    from harness.expect import Expect

    decides = Expect(runs=request.config.getoption("runs"))
    yield decides
    record = request.node.stash.setdefault(_record, results.Record(request.node.nodeid))
    record.measured = decides.records
    request.node.user_properties.extend(junit.of_figures(decides.records))
    marker = request.node.get_closest_marker("scorecard")
    if marker is not None and decides.records:
        from harness.testing import score

        told = score.cells(marker.args[0], marker.kwargs, decides.records)
        record.scorecard = json.loads(told)
        request.node.user_properties.append((results.SCORECARD, told))


@pytest.fixture
def topology(lab: Lab) -> Topology:
    """The topology of the lab."""
    return lab.topology


@pytest.fixture
def nodes(lab: Lab) -> Mapping[str, Node]:
    """The lab's Kubernetes nodes by name."""
    return lab.nodes


@pytest.fixture
def router(lab: Lab) -> Router:
    """The lab's first router."""
    return lab.router()


@pytest.fixture
def client(lab: Lab) -> Client:
    """The lab's first client."""
    return lab.client()


def _tell(config: pytest.Config, text: str) -> None:
    """Show progress at once, past pytest's capturing; a worker of xdist has its parent's stderr."""
    if config.get_verbosity() < 0:
        return
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
        terminal = config.pluginmanager.getplugin("terminalreporter")
        if terminal is not None and _worker(config) is None:
            terminal.ensure_newline()
            terminal.write_line(text)
        else:
            print(f"\n{text}", file=sys.stderr, flush=True)  # the parent is in the middle of its line of dots


# -- reports ---------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say lblab's errors in a sentence, turn what the machine lacks into a skip, show the lab beside a failure."""
    error = call.excinfo.value if call.excinfo is not None else None
    if isinstance(error, LblabError) and call.excinfo is not None:
        for entry in call.excinfo.traceback:
            if str(entry.path).startswith(_HARNESS):
                # pytest's way to leave frames out; an error that is no LblabError, a bug, still shows all of them
                entry.frame.f_globals["__tracebackhide__"] = operator.methodcaller("errisinstance", LblabError)
    report = yield
    if isinstance(error, MissingCapability | Untrusted):
        report.__dict__.pop("wasxfail", None)  # nothing was seen to fail: it is not the failure that was expected
        report.outcome = "failed" if item.config.getoption("strict", False) else "skipped"
        if report.skipped:
            word = "untrusted: " if isinstance(error, Untrusted) else ""
            report.longrepr = (str(item.path), (item.location[1] or 0) + 1, f"Skipped: {word}{error}")
    elif isinstance(error, LblabError) and report.failed and call.when != "call":
        report.longrepr = f"{type(error).__name__}: {error}"
    lab = cast("Lab | None", getattr(item, "funcargs", {}).get("lab"))
    if report.failed and lab is not None and call.when == "call":
        report.sections += explain.sections(lab, item.stash.setdefault(_record, results.Record(item.nodeid)).begin_ns)
    if wishes.uses_lab(item):
        _note(item, report)
    return report


def _keep_timeline(config: pytest.Config, record: results.Record, lab: Lab) -> None:
    """Keep what happened in a scenario beside its result."""
    path = config.getoption("lab_results")
    if path is not None:
        happened = lab.timeline.events(record.begin_ns)
        record.timeline = timelines.save(Path(path), record.scenario, happened)


def _note(item: pytest.Item, report: pytest.TestReport) -> None:
    """Add a phase to the scenario's record; the last phase writes it."""
    record = item.stash.setdefault(_record, results.Record(item.nodeid))
    record.seconds[report.when] = round(report.duration, 4)
    if report.failed and record.outcome == "failed":  # a lab that it left unclean: why it failed comes first
        record.message = f"{record.message}\n{explain.message(report)}"
    elif report.failed:
        record.outcome = "failed" if report.when == "call" else "error"
        record.message = explain.message(report)
    elif report.skipped and record.outcome == "passed":
        record.message = explain.message(report)
        untrusted = record.message.startswith("untrusted: ")
        record.outcome = "xfailed" if hasattr(report, "wasxfail") else "untrusted" if untrusted else "skipped"
    elif report.when == "call" and hasattr(report, "wasxfail"):
        record.outcome = "xpassed"
    path = item.config.getoption("lab_results")
    if report.when == "teardown" and path is not None:
        record.properties = {name: value for name, value in item.user_properties if not name.startswith("lab.")}
        results.append(Path(path), record.line())


@pytest.hookimpl(tryfirst=True)  # before the JUnit report is written
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand a worker's labs to the process that writes the summary, and what ran to the JUnit report; keep the page."""
    config = session.config
    workeroutput: dict[str, Any] | None = getattr(config, "workeroutput", None)
    if workeroutput is not None:
        workeroutput["lblab"] = config.stash[_facts]
        return
    from _pytest.junitxml import xml_key  # pytest's record_testsuite_property reaches it by a fixture only

    xml = config.stash.get(xml_key, None)
    if xml is not None:
        facts = config.stash[_facts]
        for name, value in junit.of_run(facts):
            xml.add_global_property(name, value)
    config.stash[_told] = kept.finish(config)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each worker a block of scenarios in a row, as every change of topology costs a new lab."""
    if config.getoption("dist", None) != "load":  # xdist's default; any other was asked for
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker where results go: it gets the command line, not what was made of it."""
    kept.hand_over(node)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take the facts of a worker's labs when it ends."""
    facts: list[dict[str, Any]] = node.config.stash[_facts]
    facts.extend(getattr(node, "workeroutput", {}).get("lblab", []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say in a few lines how each family of scenarios ended, and in which labs; make the page that was asked for."""
    for text in config.stash.get(_told, ()):
        terminalreporter.write_line(text)
    outcomes = [
        summary.Outcome(report.nodeid, kind, report.duration, explain.message(report) if kind == "skipped" else None)
        for kind, reports in terminalreporter.stats.items()
        if kind in ("passed", "failed", "error", "skipped", "xfailed", "xpassed")
        for report in reports
        if isinstance(report, pytest.TestReport) and _is_scenario(report)
    ]
    if not outcomes:
        return
    terminalreporter.section("lblab")
    facts: list[dict[str, Any]] = config.stash[_facts]
    for line in summary.summarise(outcomes, facts):
        terminalreporter.write_line(line.text, **({line.colour: True} if line.colour else {}))
    told = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport)
        for name, value in report.user_properties
        if name == results.SCORECARD
    ]
    if told:
        from harness.testing import score

        terminalreporter.section("scorecard")
        for text in score.lines(score.rows(map(str, told))):
            terminalreporter.write_line(text)


def _is_scenario(report: pytest.TestReport) -> bool:
    return report.nodeid.startswith("scenarios/") or any(name.startswith("lab.") for name, _ in report.user_properties)
