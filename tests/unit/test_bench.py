"""What the bench makes of samples: verdicts, costs per node, and the processes of a tree."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench import machine
from bench.figures import Collection, Figure, lines, per_node, remarks


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        (Figure("up", samples=[5.0, 6.0, 20.0], bar=6), "ok"),
        (Figure("up", samples=[5.0, 6.1, 6.2], bar=6), "over"),
        (Figure("up", samples=[5.0], bar=6, doubts=["busy"]), "untrusted"),
        (Figure("up", samples=[5.0], doubts=["busy"]), "untrusted"),
        (Figure("up", samples=[5.0]), ""),
        (Figure("up", bar=6), "skipped"),
        (Figure("up", samples=[5.0], bar=6, skipped="no memory"), "skipped"),
    ],
)
def test_verdict_is_of_the_median(figure: Figure, verdict: str) -> None:
    assert figure.verdict == verdict


def test_a_row_has_units_and_a_range() -> None:
    rows = lines([Figure("read", "ms", [0.25, 0.125, 0.5], 1), Figure("up", bar=6, skipped="no")])
    assert rows[0] == ("read", "0.250 ms", "0.125 ms – 0.500 ms", "3", "≤ 1.000 ms", "ok")
    assert rows[1] == ("up", "", "", "", "≤ 6.00 s", "skipped")


def test_remarks_say_each_reason_once() -> None:
    figures = [
        Figure("up", samples=[1.0], doubts=["busy at 3", "busy at 4"], note="with Kubernetes"),
        Figure("munet", skipped="no pgrep"),
        Figure("munet", skipped="no pgrep"),
    ]
    assert remarks(figures) == [
        "up: untrusted: busy at 3 (and 1 more)",
        "up: with Kubernetes",
        "munet: skipped: no pgrep",
    ]


def test_a_node_costs_the_difference_of_the_medians() -> None:
    assert per_node(5.0, 19.0, 14) == [1.0]
    assert per_node(None, 19.0, 14) == []


def test_runs_are_collected_by_name() -> None:
    found = Collection()
    found.add({"up": 1.0, "down": 0.5})
    found.add({"up": 3.0}, "busy")
    assert found.median("up") == 2.0
    assert found.samples["down"] == [0.5]
    assert found.median("nothing") is None
    assert found.doubts == ["busy"]


def test_the_tree_holds_children_and_their_memory() -> None:
    command = [sys.executable, "-c", "print('up', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        pids = machine.tree(os.getpid())
        assert {os.getpid(), child.pid} <= pids
        alone, together = machine.memory([child.pid]), machine.memory([child.pid, os.getpid()])
        assert 0 < alone.pss <= alone.rss
        assert together.pss > alone.pss
        assert machine.alive([child.pid]) == [child.pid]
        child.communicate("\n")
    assert machine.alive([child.pid]) == []
    assert machine.memory([child.pid]) == machine.Memory(0, 0)
