"""The observer: one process of a lab that asks for what nobody tells, and follows the Kubernetes API.

It learns from the lab's journal when there is something to ask for: paths turn stale only when a session goes down.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from harness.cilium.lease import NAMESPACE
from harness.timeline import event, punctual
from harness.timeline.bgp_polled import PolledBgp
from harness.timeline.event import Event
from harness.timeline.inotify import FolderWatch
from harness.timeline.journal import Journal, JournalReader
from harness.timeline.kubernetes import KINDS, LEASES, Watcher
from harness.timeline.names import Names
from harness.timeline.plan import RecorderPlan
from harness.timeline.recorder import Surroundings
from harness.timeline.stale import StaleWatch


def run(path: Path, around: Surroundings) -> None:
    """Observe as a plan says, until the process is killed."""
    punctual.hurry()
    plan = RecorderPlan.load(path)
    journal = Journal(Path(plan.journal))
    names = Names(plan.names)

    def write(events: list[Event]) -> None:
        journal.write(*events)

    if plan.kubeconfig is not None:
        enter: Callable[[], None] = partial(around.enter, plan.kube_host) if plan.kube_host else lambda: None
        for place, kind in enumerate(KINDS):
            Watcher(Path(plan.kubeconfig), kind, write, enter, tells_gaps=place == 0)
        if plan.leases:
            Watcher(Path(plan.kubeconfig), LEASES, write, enter, namespace=NAMESPACE)
    stale = {router: StaleWatch(router, Path(what.vty), names, write) for router, what in plan.routers.items()}
    for router, what in plan.routers.items():
        if what.bmp_port is None:
            PolledBgp(router, Path(what.vty), names, write)
    _follow(Path(plan.journal), stale)


def _follow(journal: Path, stale: dict[str, StaleWatch]) -> None:
    watch = FolderWatch(journal.parent)
    news = JournalReader(journal)
    news.news()  # what is there already is over
    while True:
        watch.read()
        for each in news.news():
            if each.subject in stale and each.is_a("bgp") and each.kind not in (event.STALE, event.FRESH):
                if each.kind == event.PEER_DOWN:
                    stale[each.subject].peer_down(each.at_ns)
                else:
                    stale[each.subject].something_changed()
