"""The cache: names of content, complete entries only, one builder at a time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from harness.binaries import cache


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lblab"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    (folder / "internal").mkdir(parents=True)
    (folder / "go.mod").write_text("module x\n")
    (folder / "main.go").write_text("package main\n")
    (folder / "internal" / "a.go").write_text("package internal\n")
    return folder


def key(folder: Path, *more: str) -> str:
    return cache.sources(folder, cache.source_files(folder), *more)


def test_the_cache_is_the_users(own_cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache.root() == own_cache
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.root() == tmp_path / ".cache" / "lblab"


def test_the_key_follows_the_sources_and_what_else_decides(sources: Path) -> None:
    first = key(sources, "go1.26")
    assert key(sources, "go1.26") == first
    assert key(sources, "go1.27") != first
    (sources / "internal" / "a.go").write_text("package internal // changed\n")
    second = key(sources, "go1.26")
    assert second != first
    (sources / "internal" / "a.go").rename(sources / "internal" / "b.go")
    assert key(sources, "go1.26") not in (first, second)


def test_the_key_does_not_follow_tests_and_texts(sources: Path) -> None:
    first = key(sources)
    (sources / "main_test.go").write_text("package main\n")
    (sources / "README.md").write_text("words\n")
    assert key(sources) == first


def test_parts_cannot_run_into_one_another() -> None:
    assert cache.digest(["ab", "c"]) != cache.digest(["a", "bc"])


def test_an_entry_appears_complete() -> None:
    folder = cache.entry("kube", "1.34.4", "abc")
    with cache.making(folder) as (scratch, provenance):
        (scratch / "kube").write_text("program")
        provenance["go"] = "go1.26.8"
        assert not folder.exists()
        assert cache.read(folder) is None
    assert (folder / "kube").read_text() == "program"
    assert cache.read(folder) == {"go": "go1.26.8"}
    assert [found for found, _ in cache.entries()] == [folder]


def test_a_failed_build_leaves_nothing() -> None:
    folder = cache.entry("kube", "1.34.4", "abc")

    def fail() -> None:
        with cache.making(folder) as (scratch, _):
            (scratch / "kube").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(folder.parent.iterdir()) == []


def test_what_a_killed_builder_left_is_removed_by_the_next() -> None:
    folder = cache.entry("cilium", "1.18.0", "abc")
    left = folder.parent / ".making-cilium-1.18.0-0123-x8_y"
    others = [folder.parent / name for name in (".making-cilium-1.18.0-pre.2-0123-x", ".making-kube-1.34.4-0123-x")]
    for one in (left, *others):
        one.mkdir(parents=True)
    with cache.making(folder):
        assert not left.exists()
    assert all(one.exists() for one in others)


def test_an_entry_with_damaged_provenance_is_built_again() -> None:
    folder = cache.entry("kube", "1.34.4", "abc")
    folder.mkdir(parents=True)
    (folder / "provenance.json").write_text('{"program": "ku')
    assert cache.read(folder) is None
    with cache.making(folder) as (_, provenance):
        provenance["go"] = "go1.26.8"
    assert cache.read(folder) == {"go": "go1.26.8"}


def test_no_cache_no_entries() -> None:
    assert list(cache.entries()) == []


def test_the_second_builder_waits_for_the_first() -> None:
    order: list[str] = []
    said: list[str] = []
    holding, waiting = threading.Event(), threading.Event()

    def first() -> None:
        with cache.lock("kube-1.34.4", said.append):
            holding.set()
            assert waiting.wait(5)
            order.append("first done")

    def second() -> None:
        assert holding.wait(5)

        def hear(line: str) -> None:
            said.append(line)
            waiting.set()

        with cache.lock("kube-1.34.4", hear):
            order.append("second in")

    threads = [threading.Thread(target=one) for one in (first, second)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(10)
    assert order == ["first done", "second in"]
    assert len(said) == 1
    assert "which builds kube-1.34.4" in said[0]


def test_two_programs_do_not_wait_for_one_another() -> None:
    with cache.lock("kube-1.34.4", pytest.fail), cache.lock("cilium-1.18.0", pytest.fail):
        pass
