"""Threads: how many, several callers at once, forked children, fixed bits."""

from __future__ import annotations

import multiprocessing
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import yosort
from yosort import ConfigError, YosoConfig
from yosort._threads import ThreadPool
from yosort.threads import VARIABLES, _quota, resolve_num_threads

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


@pytest.mark.parametrize(
    ("files", "processors"),
    [
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "nonsense\n"}, None),
        ({}, None),
    ],
)
def test_container_quotas(files: dict[str, str], processors: int | None, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert _quota(tmp_path) == (1 << 20 if processors is None else processors)


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
