"""Threads, forks, processes, event loops and signals: the same bits, and never a deadlock.

Programs that may hang run in processes of their own (scripts.py), with a generous time limit.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

import yosort
from reliability.scripts import CONFIG, digest, ids, make

SCRIPTS = Path(__file__).with_name("scripts.py")
LIMIT = 300

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
posix = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a program of scripts.py; a hang is an error."""
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", str(SCRIPTS), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


@pytest.mark.parametrize("mode", ["expectation", "sampled"])
def test_sixteen_threads_two_models_and_blas(mode: str) -> None:
    # More threads than processors, each model with a pool of its own, BLAS with its own beside.
    models = [make(mode, 3), make(mode, 2, seed=1)]
    sizes = [(n, texts) for n in (1, 40, 333) for texts in (1, 3)]
    wanted = {(m, size): digest(models[m], *size) for m in (0, 1) for size in sizes}
    assert len(set(wanted.values())) == len(wanted)
    matrix = np.random.default_rng(0).standard_normal((200, 200))
    product = matrix @ matrix

    def work(job: int) -> bool:
        m, size = job % 2, sizes[job % len(sizes)]
        if job % 5 == 0 and not np.array_equal(matrix @ matrix, product):
            return False
        return digest(models[m], *size) == wanted[m, size]

    with ThreadPoolExecutor(16) as callers:
        assert all(callers.map(work, range(160)))


def test_asyncio_through_a_thread_pool() -> None:
    model = make()
    wanted = digest(model)

    async def serve() -> list[str]:
        return await asyncio.gather(*(asyncio.to_thread(digest, model) for _ in range(24)))

    assert set(asyncio.run(serve())) == {wanted}


def _spawned(folder: str) -> str:
    return digest(yosort.YosoModel.from_pretrained(folder, device="cpu", num_threads=2))


def test_spawned_processes_read_the_same_model(tmp_path: Path) -> None:
    model = make("sampled", 2)
    model.save_pretrained(tmp_path)
    here = digest(yosort.YosoModel.from_pretrained(tmp_path, device="cpu", num_threads=3))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        assert set(processes.map(_spawned, [str(tmp_path)] * 3)) == {here}


@forks
def test_a_preforking_server() -> None:
    done = run("prefork", 4, 4)
    assert done.stdout == "children [0, 0, 0, 0] parent True\n", done.stderr


@forks
def test_forks_amid_the_calls_of_other_threads() -> None:
    done = run("fork_amid_calls", 20)
    assert done.stdout == f"children {[0] * 20} parent True\n", done.stderr


@posix
def test_an_interrupt_amid_a_call_leaves_the_model_whole() -> None:
    done = run("interrupted", 10)
    assert done.stdout == "caught 10 kept 0\n", done.stderr


@posix
@pytest.mark.parametrize(
    ("how", "status"), [("exit", 0), ("error", 1), ("signal", -signal.SIGTERM)]
)
def test_the_interpreter_ends_amid_a_call(how: str, status: int) -> None:
    done = run("shut_down", how)
    assert (done.returncode, done.stdout) == (status, "leaving\n"), done.stderr
    assert ("the main thread died" in done.stderr) == (how == "error")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's /proc")
def test_resident_memory_stays_flat() -> None:
    done = run("soak", os.environ.get("YOSORT_SOAK_CALLS", 300))
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    # A block of the workspace, 64 KB, lost at each call would be 19 MB.
    assert int(words[words.index("growth") + 1]) < 6 << 20, done.stdout


def test_an_answer_outlives_its_model_and_later_calls() -> None:
    model = make("expectation")
    batch = ids(400, 3)
    kept = [model(batch).last_hidden_state for _ in range(3)]
    wanted = kept[0].copy()
    for n in (400, 399, 1):
        model(ids(n, 3))
    for answer in kept[1:]:
        np.testing.assert_array_equal(answer, wanted)
    del model
    for _ in range(3):
        make("expectation")(ids(400, 3))
    for answer in kept:
        np.testing.assert_array_equal(answer, wanted)


def test_answers_given_up_by_another_thread_amid_calls() -> None:
    # Memory comes back to the workspace on whichever thread drops the last reference.
    model = make("expectation", 2)
    wanted = model(ids(300, 2)).last_hidden_state.copy()
    with ThreadPoolExecutor(4) as callers:
        waiting = [callers.submit(model, ids(300, 2), output_hidden_states=True) for _ in range(24)]
        for future in waiting:
            states = future.result().hidden_states
            np.testing.assert_array_equal(states[-1], wanted)
            del states
            future._result = None  # the reference that the future holds
    assert model._ops.workspace.kept == 0
    assert CONFIG.num_hidden_layers == 2
