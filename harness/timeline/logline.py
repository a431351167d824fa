"""What a line of a daemon's log says: when by its own clock, how grave, and whether it belongs in a timeline. Pure.

Four families of daemons write four kinds of lines: Cilium and lblab's own node agent key=value pairs (Go's slog; up
to Cilium 1.17 logrus, which stamps to the second), MetalLB and etcd JSON, Kubernetes klog lines, FRR its own.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime

_SECOND = 1_000_000_000
#: Line lengths after which a text is cut.
_LONGEST = 240

_PAIR = re.compile(r'([\w./-]+)=("(?:[^"\\]|\\.)*"|\S*)')
_KLOG = re.compile(r"([IWEF])(\d{2})(\d{2}) (\d{2}):(\d{2}):(\d{2})\.(\d{6}) +\d+ [^\]]+\] (.*)")
_FRR = re.compile(
    r"(\d{4})/(\d{2})/(\d{2}) (\d{2}):(\d{2}):(\d{2})(\.\d+)? \w+: "
    r"(?:\[[A-Z0-9]{5}-[A-Z0-9]{5}\])?(\[EC \d+\] )? ?(.*)"
)
_RFC3339 = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(\.\d+)?(Z|[+-]\d{2}:\d{2})")
_GRAVE = frozenset({"warn", "warning", "error", "fatal", "panic"})
_KLOG_LEVELS = {"I": "info", "W": "warning", "E": "error", "F": "fatal"}
#: What matters at any level: sessions, graceful restart, what the control plane does to peers and routes; of MetalLB
#: members that are suspected, lost and joined, and addresses that are announced or not any more; who answers ARP.
_MATTERS = re.compile(
    r"peer|session|graceful|reconcil|advertis|withdraw|end-of-rib|NOTIFICATION|hold timer|BGP instance|leader"
    r"|suspect|as failed|node event|memberlist (join|cluster)|service has IP, announcing|\bARP\b",
    re.IGNORECASE,
)
#: Routine of a start, however it sounds.
_ROUTINE = re.compile(
    r"is deprecated|allocation via CRDs|Reconciling peers|soft reset out|Caches are synced|UPDATE for non-enabled AFI"
    r"|^bmp: |^Client |MPLS support"
)
#: Pairs that say where a line comes from, not what it says.
_ORIGIN = frozenset(
    {"time", "level", "msg", "now_ns", "module", "subsys", "component", "source", "instance", "Topic", "State", "asn"}
)


#: Fields of a JSON line that belong to what it says: MetalLB's, and errors.
_SAID = ("service", "ips", "ip", "pool", "protocol", "reason", "node name", "node event", "error")


@dataclass(frozen=True)
class LogLine:
    """One line.

    Attributes:
        level: `info`, `warning`, ... in lower case; empty when the line does not say.
        text: The message, with what is said about it.
        realtime_ns: Its own time stamp, nanoseconds since 1970; None without one.
        monotonic_ns: Its own stamp of CLOCK_MONOTONIC, which lblab's own programs write.
        resolution_ns: How finely its own stamp is written; a line is written after what it tells.
    """

    level: str
    text: str
    realtime_ns: int | None
    monotonic_ns: int | None
    resolution_ns: int

    @property
    def matters(self) -> bool:
        """Whether it belongs in a timeline."""
        return (self.level in _GRAVE or bool(_MATTERS.search(self.text))) and not _ROUTINE.search(self.text)


def parse(line: str, now: datetime | None = None) -> LogLine:
    """Read a line of any of the daemons.

    Args:
        line: Without its newline.
        now: The local time, for klog, which leaves the year out.
    """
    if line.startswith("{"):
        return _json(line)
    if match := _KLOG.match(line):
        return _klog(match, now or datetime.now().astimezone())
    if match := _FRR.match(line):
        return _frr(match)
    if line.startswith(("time=", "level=")):
        return _pairs(line)
    return LogLine("", _cut(line), None, None, _SECOND)


def _pairs(line: str) -> LogLine:
    pairs = {key: _unquoted(value) for key, value in _PAIR.findall(line)}
    stamp, resolution = _rfc3339(pairs.get("time", ""))
    said = [f"{key}={value}" for key, value in pairs.items() if key not in _ORIGIN]
    text = " ".join([pairs.get("msg", ""), *said])
    own = pairs.get("now_ns", "")
    monotonic = int(own) if own.isdigit() else None
    return LogLine(_level(pairs.get("level", "")), _cut(text), stamp, monotonic, 1 if monotonic else resolution)


def _json(line: str) -> LogLine:
    try:
        content = json.loads(line)
    except ValueError:
        return LogLine("", _cut(line), None, None, _SECOND)
    stamp, resolution = _rfc3339(str(content.get("ts", content.get("time", ""))))
    text = str(content.get("msg", ""))
    said = (f"{key.replace(' ', '-')}={_plain(content[key])}" for key in _SAID if content.get(key))
    text = " ".join([text, *said])
    return LogLine(_level(str(content.get("level", ""))), _cut(text), stamp, None, resolution)


def _plain(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _klog(match: re.Match[str], now: datetime) -> LogLine:
    letter, *numbers, message = match.groups()
    month, day, hour, minute, second, micro = map(int, numbers)
    moment = now.replace(month=month, day=day, hour=hour, minute=minute, second=second, microsecond=0)
    if moment > now.replace(microsecond=0) and moment.month == 12 and now.month == 1:
        moment = moment.replace(year=now.year - 1)
    return LogLine(_KLOG_LEVELS[letter], _cut(message), int(moment.timestamp()) * _SECOND + micro * 1000, None, 1000)


def _frr(match: re.Match[str]) -> LogLine:
    *numbers, fraction, code, message = match.groups()
    year, month, day, hour, minute, second = map(int, numbers)
    moment = datetime(year, month, day, hour, minute, second).astimezone()
    nanoseconds, resolution = _fraction(fraction)
    # FRR marks only its errors and warnings with a code
    level = "warning" if code else "info"
    return LogLine(level, _cut(message), int(moment.timestamp()) * _SECOND + nanoseconds, None, resolution)


def _rfc3339(text: str) -> tuple[int | None, int]:
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None, _SECOND
    whole, fraction, zone = match.groups()
    moment = datetime.fromisoformat(whole + ("+00:00" if zone == "Z" else zone)).astimezone(UTC)
    nanoseconds, resolution = _fraction(fraction)
    return int(moment.timestamp()) * _SECOND + nanoseconds, resolution


def _fraction(text: str | None) -> tuple[int, int]:
    """Read `.123456`: nanoseconds, and what the last digit stands for. Go leaves zeros at the end out."""
    if not text:
        return 0, _SECOND
    digits = text[1:10]
    return int(digits.ljust(9, "0")), 1000 if len(digits) > 3 else 10 ** (9 - len(digits))


def _level(text: str) -> str:
    lower = text.lower()
    return "warning" if lower == "warn" else lower


def _unquoted(text: str) -> str:
    if not text.startswith('"'):
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        return text.strip('"')


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
