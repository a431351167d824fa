"""The files that a person gives, recognised and read; what is wrong with one is one sentence that names it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from harness import yamlfile
from harness.capture.reader import Capture
from harness.capture.scan import scan
from harness.diagnose import from_capture, from_timeline, kubectl, logs
from harness.diagnose.episodes import least
from harness.diagnose.observed import SECOND, Flow, Gap, Observations, What
from harness.errors import UserError
from harness.timeline.event import Event
from harness.timeline.timeline import Timeline

#: A timeline is kept in memory as a whole; an hour of a lab is some megabytes.
MAX_TIMELINE = 512 << 20
#: kubectl's output of a cluster of hundreds of pods is some megabytes.
MAX_KUBECTL = 64 << 20
#: A line of a log that is longer is none of those that are looked for.
_LONGEST_LINE = 4096

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Given:
    """What a person gave.

    Attributes:
        files: Timelines of lblab, or captures.
        logs: The router's system log, and those of MetalLB's speakers.
        kubectl: Output of `kubectl get`.
        scale: A lab's time scale.
        address: The service's address.
        at_node: The captures were made at the node.
    """

    files: Sequence[Path]
    logs: Sequence[Path] = ()
    kubectl: Sequence[Path] = ()
    scale: float = 1.0
    address: str | None = None
    at_node: bool = False


def load(given: Given, tell: Tell = lambda _: None) -> Observations:
    """Read everything.

    Raises:
        UserError: when a file cannot be used, or when files have clocks that cannot be compared.
    """
    whole = Observations(scale=given.scale)
    timelines = [path for path in given.files if _is_json(path)]
    if timelines and (len(given.files) > 1 or given.logs or given.kubectl):
        other = next((p for p in (*given.files, *given.logs, *given.kubectl) if p != timelines[0]), timelines[0])
        raise UserError(
            f"a timeline has a clock of its own, which {other} does not share", file=timelines[0], hint="one at a time"
        )
    for path in given.files:
        if path in timelines:
            whole.add(_timeline(path, given.scale))
        else:
            whole.add(_capture(path, given, tell))
    for path in given.kubectl:
        tell(f"{path}")
        whole.add(kubectl.observe(_objects(path), str(path)))
    around = whole.begin or max((_written(path) for path in given.logs), default=0)
    for path in given.logs:
        tell(f"{path}")
        whole.add(logs.observe(_lines(path), str(path), around))
    if not given.files:
        whole.begin = min((sign.at for sign in whole.signs), default=0)
        whole.end = max((sign.at for sign in whole.signs), default=0)
        whole.flows = list(visits(whole))
    return whole if timelines else whole.named()


def visits(seen: Observations) -> Iterator[Flow]:
    """Without traffic, where each address was: a time in which it is away from its usual host is a gap.

    A router's log alone shows that players' packets took another way, and for how long.
    """
    moved = [sign for sign in seen.signs if sign.what is What.MOVED]
    for address in dict.fromkeys(sign.about for sign in moved):
        own = [sign for sign in moved if sign.about == address]
        stays = list(zip_longest(own, (sign.at for sign in own[1:])))
        spent: dict[str, int] = {own[0].before: own[0].at - seen.begin}
        for sign, end in stays:
            spent[sign.who] = spent.get(sign.who, 0) + (seen.end if end is None else end) - sign.at
        usual = max(spent, key=lambda who: spent[who])
        away = [Gap(sign.at, end) for sign, end in stays if sign.who != usual]
        yield Flow(f"{address} at its usual host {usual}", address, 0, seen.begin, seen.end, 0, tuple(away), usual)


def _is_json(path: Path) -> bool:
    """Whether a file begins as JSON lines do."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError("is a pipe or a device, and would have to be read twice", file=path, hint="save it first")
    try:
        with path.open("rb") as file:
            return file.read(16).lstrip()[:1] == b"{"
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", file=path) from error


def _timeline(path: Path, scale: float) -> Observations:
    if path.stat().st_size > MAX_TIMELINE:
        raise UserError(f"more than {MAX_TIMELINE >> 20} MB, which no timeline of a lab has", file=path)
    events: list[Event] = []
    problems: list[str] = []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                events.append(Event.parse(line))
            except (ValueError, AttributeError, UnicodeDecodeError) as error:
                if not line.endswith(b"\n"):
                    problems.append(f"{path}: the file ends within line {number}; what is whole is used")
                elif line.strip():
                    hint = "lblab timeline --json > FILE, or the .timelines folder that --lab-results makes"
                    raise UserError("this is no event of a timeline", file=path, line=number, hint=hint) from error
    if not events:
        raise UserError("the timeline has no whole event", file=path)
    seen = from_timeline.observe(Timeline(events), str(path), scale)
    seen.problems += problems
    return seen


def _capture(path: Path, given: Given, tell: Tell) -> Observations:
    capture = Capture(path)
    shown = -1

    def progress(at: int, size: int) -> None:
        nonlocal shown
        percent = at * 100 // size if size else 0
        if percent // 5 > shown:
            shown = percent // 5
            tell(f"{path}: {at / 1e6:.0f} of {size / 1e6:.0f} MB" if size else f"{path}: {at / 1e6:.0f} MB")

    seen = scan(capture.read(progress), longer_than=least(given.scale))
    if not seen.packets and not capture.problems:
        raise UserError("the capture has no packets", file=path, hint="did its filter match anything?")
    if not seen.packets:
        raise UserError(capture.problems[0].removeprefix(f"{path}: ") + ", and there is no packet before", file=path)
    found = from_capture.observe(seen, str(path), scale=given.scale, address=given.address, at_node=given.at_node)
    found.problems += capture.problems
    return found


def _objects(path: Path) -> list[dict[str, object]]:
    if path.exists() and path.stat().st_size > MAX_KUBECTL:
        raise UserError(f"more than {MAX_KUBECTL >> 20} MB", file=path, hint="fewer kinds or namespaces at once")
    text = yamlfile.read_text(path)
    if text.lstrip()[:1] in ("{", "["):
        try:
            read = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            line = getattr(error, "lineno", None)
            raise UserError("this is no whole JSON", file=path, line=line, hint="kubectl get ... -o json") from error
        documents = read if isinstance(read, list) else [read]
    else:
        documents = [document.value for document in yamlfile.load_documents(text, path)]
    found = [document for document in documents if isinstance(document, dict)]
    if not found:
        raise UserError("there is no Kubernetes object in it", file=path, hint="kubectl get ... -o json")
    return found


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            while line := file.readline(_LONGEST_LINE):
                yield line.decode(errors="replace")
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", file=path) from error


def _written(path: Path) -> int:
    """When a file was last written, nanoseconds since 1970; 0 when it is not there, which reading it will say."""
    return int(path.stat().st_mtime) * SECOND if path.exists() else 0
