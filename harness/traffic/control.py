"""Asking `lablet serve` through its control socket: readiness, peers, and which packets of a probe it has received."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import LabError

_ANSWER_WITHIN = 5.0  # seconds; an answer takes well under a millisecond, a stopped process never gives one


@dataclass(frozen=True)
class Peer:
    """A source of UDP datagrams as a server saw it; times are nanoseconds of CLOCK_MONOTONIC."""

    peer: str
    port: int
    packets: int
    first: int
    last: int
    session: str  # of the probe flow, empty when it is none
    flow: int  # -1 when it is none
    moved_from: str  # the source that this flow had before: an address translation lost its state


@dataclass(frozen=True)
class FlowLog:
    """Which numbers of a flow a server has received: all from first to highest, without the gaps.

    Below `forgotten` the gaps are not known any more (a server remembers some 32000).
    """

    session: str
    flow: int
    first: int
    highest: int
    count: int
    duplicates: int
    reordered: int
    forgotten: int
    moves: int
    gaps: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class ServerLog:
    """What one server process has received."""

    node: str
    pod: str
    instance: str
    at: int
    flows: tuple[FlowLog, ...]


def ask(path: Path | str, command: str) -> dict[str, Any]:
    """Send one command and return the answer.

    Raises:
        LabError: when the server refuses the command.
        OSError: when nobody answers on the socket.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_ANSWER_WITHIN)
        connection.connect(str(path))
        connection.sendall(command.encode() + b"\n")
        with connection.makefile("rb") as lines:
            line = lines.readline()
    if not line.endswith(b"\n"):
        raise ConnectionError(f"the server at {path} went away while answering {command}")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        raise LabError(f"the server at {path} refused {command!r}: {answer['error']}")
    return answer


def peers(path: Path | str) -> list[Peer]:
    """Every UDP peer of a server, in the order in which they were first seen."""
    return [
        Peer(
            peer=each["peer"],
            port=each["port"],
            packets=each["packets"],
            first=each["first_ns"],
            last=each["last_ns"],
            session=each.get("session", ""),
            flow=each["flow"],
            moved_from=each["moved_from"],
        )
        for each in ask(path, "peers")["peers"]
    ]


def log(path: Path | str) -> ServerLog:
    """Which packets a server has received of every probe flow."""
    return server_log(ask(path, "log"))


def server_log(answer: Mapping[str, Any]) -> ServerLog:
    """Read the answer to `log`."""
    return ServerLog(
        node=answer["node"],
        pod=answer["pod"],
        instance=answer["instance"],
        at=answer["now_ns"],
        flows=tuple(
            FlowLog(
                session=each["session"],
                flow=each["flow"],
                first=each["first"],
                highest=each["highest"],
                count=each["count"],
                duplicates=each["duplicates"],
                reordered=each["reordered"],
                forgotten=each["forgotten"],
                moves=each["moves"],
                gaps=tuple((gap["from"], gap["to"]) for gap in each["gaps"] or ()),
            )
            for each in answer["flows"]
        ),
    )
