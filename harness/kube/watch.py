"""Following objects by watch events, and waiting on them with a deadline."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness.errors import WaitTimeout
from harness.kube.discovery import Resource
from harness.kube.transport import REQUEST_WITHIN, ApiAway, ApiError, Transport

Obj = dict[str, Any]
Accept = Callable[[Obj | None], bool]

#: Seconds between two attempts to reach an API server that is away, which nothing announces.
_AWAY_EVERY = 0.05
_HISTORY = 4
_STATE_LENGTH = 400


@dataclass(frozen=True)
class Event:
    """One change that a watch saw.

    Attributes:
        type: ADDED, MODIFIED or DELETED.
        object: The object after the change (before it, for DELETED).
        at: Moment on the monotonic clock when the event was read, in seconds.
    """

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: Obj
    at: float


def follow(
    http: Transport, resource: Resource, namespace: str | None, query: Mapping[str, str], deadline: float
) -> Iterator[Event | None]:
    """Yield what is there as ADDED, then None (that was all), then every change, until the deadline.

    A watch that the server ends (it does so after some minutes, or when its history is too short: 410 Gone) is taken up
    again with a list; what changed in between is yielded too, and another None.

    Raises:
        ApiAway: The API server went away.
        ApiError: The API server refuses to list or watch.
    """
    path = resource.path(namespace)
    known: dict[str, Obj] = {}
    while True:
        left = max(deadline - time.monotonic(), 1.0)  # even a wait without time looks once
        listed = http.request("GET", path, query=query, within=min(left, REQUEST_WITHIN)).json()
        kind = {"apiVersion": resource.api_version, "kind": resource.kind}  # a list's items do not repeat it
        current = {item["metadata"]["uid"]: {**kind, **item} for item in listed["items"]}
        now = time.monotonic()
        for uid in known.keys() - current.keys():
            yield Event("DELETED", known[uid], now)
        for uid, item in current.items():
            if uid not in known:
                yield Event("ADDED", item, now)
            elif known[uid]["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
                yield Event("MODIFIED", item, now)
        known = current
        yield None
        since = {"watch": "1", "allowWatchBookmarks": "true", "resourceVersion": listed["metadata"]["resourceVersion"]}
        try:
            with http.stream(path, {**query, **since}, deadline=deadline) as documents:
                for document in documents:
                    if document["type"] == "ERROR":
                        break
                    if document["type"] == "BOOKMARK":
                        continue
                    event = Event(document["type"], document["object"], time.monotonic())
                    uid = event.object["metadata"]["uid"]
                    if event.type == "DELETED":
                        known.pop(uid, None)
                    else:
                        known[uid] = event.object
                    yield event
        except TimeoutError:
            return
        except ApiError as error:
            if error.status != 410:
                raise
        if time.monotonic() >= deadline:
            return


def wait_for(
    http: Transport,
    resource: Resource,
    namespace: str | None,
    name: str,
    accept: Accept,
    *,
    deadline: float,
    what: str,
    show: Callable[[Obj | None], str],
) -> Obj | None:
    """Wait until one object is as wanted; an API server that is away meanwhile is waited for too.

    Returns:
        The object when it was accepted, None when it was accepted that there is none.

    Raises:
        WaitTimeout: with the last states seen and when they were first seen.
    """
    start = time.monotonic()
    seen: list[tuple[float, str]] = []
    pause = threading.Event()

    def note(text: str) -> None:
        if not seen or seen[-1][1] != text:
            seen[:] = [*seen[-(_HISTORY - 1) :], (time.monotonic() - start, text)]

    while True:
        state: Obj | None = None
        try:
            for event in follow(http, resource, namespace, {"fieldSelector": f"metadata.name={name}"}, deadline):
                if event is not None:
                    state = None if event.type == "DELETED" else event.object
                if accept(state):
                    return state
                note(show(state))
        except ApiAway as error:
            note(error.message)
            pause.wait(_AWAY_EVERY)
        if time.monotonic() >= deadline:
            history = "; ".join(f"at {at:.2f} s: {text}" for at, text in seen)
            raise WaitTimeout(f"waited {deadline - start:.3g} s for {what}; seen {history}")


def show_state(found: Obj | None) -> str:
    """Render an object for a wait's error: its generation and status, cut to a readable length."""
    if found is None:
        return "no such object"
    text = json.dumps(found.get("status") or found.get("spec") or {}, separators=(",", ":"))
    deleting = " being deleted," if found["metadata"].get("deletionTimestamp") else ""
    return f"{deleting} {text[:_STATE_LENGTH]}{'…' if len(text) > _STATE_LENGTH else ''}".strip()


def show_remains(found: Obj | None) -> str:
    """Render why a deleted object is still there."""
    if found is None:
        return "gone"
    finalizers = found["metadata"].get("finalizers") or []
    return f"still there, finalizers {', '.join(finalizers)}" if finalizers else "still there"
