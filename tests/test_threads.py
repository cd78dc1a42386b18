"""Threads: how many, several callers at once, forked children, fixed bits."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import yosort
from yosort import ConfigError, YosoConfig, machine
from yosort._threads import ThreadPool
from yosort.machine import (
    MAX_THREADS,
    VARIABLES,
    allowed_processors,
    resolve_num_threads,
    usable_processors,
)

CONFIG = YosoConfig(
    vocab_size=50, hidden_size=64, num_hidden_layers=2, num_attention_heads=2,
    intermediate_size=96, max_position_embeddings=128, num_hash=8, hash_code_len=5,
)  # fmt: skip
IDS = np.random.default_rng(0).integers(0, 50, (3, 100))


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_num_threads(3) == 3
    assert 1 <= resolve_num_threads(None) <= (os.cpu_count() or 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "7,2")
    assert resolve_num_threads(None) == 7
    monkeypatch.setenv("YOSORT_NUM_THREADS", "5")
    assert resolve_num_threads(None) == 5
    assert resolve_num_threads(2) == 2
    for text in ("0", "-1", "many", "1.5"):
        monkeypatch.setenv("YOSORT_NUM_THREADS", text)
        with pytest.raises(ConfigError, match="YOSORT_NUM_THREADS: wanted an integer"):
            resolve_num_threads(None)


@pytest.mark.parametrize("bad", [0, -1, MAX_THREADS + 1, 1.0, "3", True, [2]])
def test_an_option_that_is_no_number_of_threads_is_refused(bad: object) -> None:
    with pytest.raises(ConfigError, match="num_threads: wanted None or an integer from 1 to 4096"):
        resolve_num_threads(bad)  # type: ignore[arg-type]
    assert resolve_num_threads(1) == 1
    assert resolve_num_threads(np.int64(MAX_THREADS)) == MAX_THREADS


def test_one_thread_by_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "1")
        assert resolve_num_threads(None) == 1
        assert yosort.YosoModel(CONFIG, device="cpu").ops.pool.num_threads == 1
        monkeypatch.setenv(name, str(MAX_THREADS))
        assert resolve_num_threads(None) == MAX_THREADS
        monkeypatch.setenv(name, str(MAX_THREADS + 1))
        with pytest.raises(ConfigError, match=f"{name}: wanted an integer from 1 to"):
            resolve_num_threads(None)
        monkeypatch.delenv(name)


V1 = "5:cpu,cpuacct:/a/b\n4:memory:/m\n0::/\n"


@pytest.mark.parametrize(
    ("groups", "files", "processors"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        (V1, {"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        # The group that the process is in and those around it: the tightest counts.
        ("0::/a/b\n", {"cpu.max": "800000 100000", "a/b/cpu.max": "300000 100000"}, 3),
        ("0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),
        ("0::/a/b\n", {"other/cpu.max": "300000 100000"}, None),
        (V1, {"cpu/a/b/cpu.cfs_quota_us": "150000", "cpu/a/b/cpu.cfs_period_us": "50000"}, 3),
        (V1, {"cpu/m/cpu.cfs_quota_us": "150000", "cpu/m/cpu.cfs_period_us": "50000"}, None),
        # A name of the host's, or from outside a namespace: the mounted tree's root is our own.
        ("0::/docker/0a1b\n", {"cpu.max": "300000 100000"}, 3),
        ("0::/../../a\n", {"a/cpu.max": "300000 100000"}, 3),
        # Nobody tells where the process is.
        (None, {"cpu.max": "300000 100000", "a/cpu.max": "100000 100000"}, 3),
        ("nonsense\n\n", {"cpu.max": "300000 100000"}, 3),
        ("0::/\n", {"cpu.max": "nonsense\n"}, None),
        ("0::/\n", {"cpu.max": "100000 0\n"}, None),
        ("0::/\n", {"cpu.max": "0 100000\n"}, None),
        ("0::/\n", {}, None),
    ],
)
def test_container_quotas(
    groups: str | None, files: dict[str, str], processors: int | None, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    written = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    if groups is not None:
        written["proc/self/cgroup"] = groups
    for name, text in written.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert allowed_processors(tmp_path) == processors
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    for mask in (6, 2):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=mask: set(range(n)), raising=False)
        assert usable_processors(tmp_path) == min(processors or mask, mask)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert usable_processors(tmp_path) == (processors or 64)
    monkeypatch.setattr(os, "cpu_count", lambda: None)  # a system that does not tell
    assert usable_processors(tmp_path) == 1


def test_the_default_is_what_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 6}, raising=False)
    monkeypatch.setattr(machine, "allowed_processors", lambda _: None)
    assert resolve_num_threads(None) == 3
    monkeypatch.setattr(machine, "allowed_processors", lambda _: 2)
    assert resolve_num_threads(None) == 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no masks")
def test_a_process_of_one_processor_takes_one_thread() -> None:
    program = (
        "import os, yosort.machine as t; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "print(t.resolve_num_threads(None))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\n"


def test_a_pool_needs_a_thread() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ThreadPool(0)
    assert ThreadPool(3).num_threads == 3


@pytest.mark.parametrize("mode", ["expectation", "sampled"])
def test_many_callers_share_a_model(mode: str) -> None:
    model = yosort.YosoModel(CONFIG, device="cpu", attention=mode, num_threads=3)
    wanted = model(IDS).last_hidden_state
    with ThreadPoolExecutor(16) as callers:
        results = list(callers.map(lambda _: model(IDS).last_hidden_state, range(64)))
    for got in results:
        np.testing.assert_array_equal(got, wanted)


def _answer_in_child(model: yosort.YosoModel, queue: multiprocessing.Queue) -> None:
    queue.put(model(IDS).last_hidden_state)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="Python warns of forks beside threads")
def test_a_forked_child_works_as_its_parent_does() -> None:
    model = yosort.YosoModel(CONFIG, device="cpu", num_threads=3)
    wanted = model(IDS).last_hidden_state  # the parent's threads are running
    context = multiprocessing.get_context("fork")
    for _ in range(3):
        queue = context.Queue()
        child = context.Process(target=_answer_in_child, args=(model, queue))
        child.start()
        np.testing.assert_array_equal(queue.get(timeout=60), wanted)
        child.join(60)
        assert child.exitcode == 0
    np.testing.assert_array_equal(model(IDS).last_hidden_state, wanted)


def test_models_come_and_go() -> None:
    for _ in range(50):
        model = yosort.YosoModel(CONFIG, device="cpu", num_threads=4)
        model(IDS[:1, :30])
        del model
