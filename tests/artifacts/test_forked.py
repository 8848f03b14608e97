"""A child that is forked while another thread is busy goes on with what its parent had open."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from n4a_store import ArtifactLoader, ArtifactRegistry, Workspace, register_artifact_type
from n4a_store.artifacts import cache as cache_module
from n4a_store.artifacts import loader as loader_module
from n4a_store.artifacts import registry_queries, types
from n4a_store.artifacts.cache import ObjectCache
from tests.children import child, ended

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


@contextmanager
def busy(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, begin: Callable[[], object]
) -> Iterator[None]:
    """Within the block a thread has begun something and has come to that function."""
    real = getattr(owner, name)
    reached, go_on = threading.Event(), threading.Event()

    def pause(*args: Any, **kwargs: Any) -> Any:
        if threading.current_thread() is thread:
            reached.set()
            go_on.wait(60)
        return real(*args, **kwargs)

    thread = threading.Thread(target=begin)
    monkeypatch.setattr(owner, name, pause)
    thread.start()
    try:
        assert reached.wait(20)
        yield
    finally:
        go_on.set()
        thread.join()


def test_a_child_uses_a_registry_that_another_thread_was_loading_from(
    registry: ArtifactRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = registry.register([1, 2], "base:0:all", "model")

    def work() -> None:
        assert registry.load_artifact(record) == [1, 2]
        registry.register([3], "child:0:all", "model")

    with busy(monkeypatch, registry_queries, "load_record", lambda: registry.load_artifact(record)):
        assert ended(child(work)) == 0
    assert registry.resolve("child:0:all") is not None


def test_a_child_uses_a_loader_that_another_thread_was_loading_with(
    registry: ArtifactRegistry, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.register([1, 2], "base:0:all", "model")
    loader = ArtifactLoader(workspace, "corn")
    loader.get_all_records()

    def work() -> None:
        assert loader.load_by_id("base:0:all") == [1, 2]
        assert loader.get_record("base:0:all") is not None

    with busy(monkeypatch, loader_module, "load_payload", lambda: loader.load_by_id("base:0:all")):
        assert ended(child(work)) == 0
    with busy(monkeypatch, loader._view, "records", loader.get_all_records):
        assert ended(child(work)) == 0


def test_a_child_uses_a_cache_that_another_thread_was_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = ObjectCache(4, 100)
    cache.put("a", "A", 10)

    def work() -> None:
        assert cache.get("a") == "A"
        cache.put("c", "C", 20)
        assert cache.info().bytes == sum(size for _, size in cache._items.values())

    with busy(monkeypatch, cache, "_shrink", lambda: cache.put("b", "B", 30)):
        assert ended(child(work)) == 0
    with busy(monkeypatch, cache_module, "CacheInfo", cache.info):
        assert ended(child(work)) == 0


def test_a_child_adds_a_type_while_another_thread_was_about_to() -> None:
    with types._added_lock:
        assert ended(child(lambda: register_artifact_type("forked") and None)) == 0
