"""Memory that is used again must never be used twice at once, nor be kept when no call runs."""

from __future__ import annotations

import gc
import os
import threading

import numpy as np
import pytest

from yosort._threads import KEPT, SMALL, Workspace

SHAPE = (SMALL // 4, 3)


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_memory_of_the_gone_serves_the_next() -> None:
    workspace = Workspace()
    with workspace.recycling():
        first = workspace.empty(SHAPE)
        where = address(first)
        del first
        assert address(workspace.empty(SHAPE)) == where
        codes = workspace.empty((*SHAPE, 2), np.uint16)  # as many bytes
        assert address(codes) == where
        assert codes.shape == (*SHAPE, 2)
        assert codes.dtype == np.uint16


@pytest.mark.parametrize("view", [lambda x: x, lambda x: x[5:, 1:], lambda x: x.view("u1").T])
def test_views_hold_on_to_their_memory(view: object) -> None:
    workspace = Workspace()
    with workspace.recycling():
        seen = view(workspace.empty(SHAPE))  # type: ignore[operator]
        seen[...] = 7
        for _ in range(3):
            workspace.empty(SHAPE)[...] = 1
        assert (seen == 7).all()


def test_nothing_is_kept_when_no_call_runs() -> None:
    workspace = Workspace()
    with workspace.recycling():
        with workspace.recycling():
            workspace.empty(SHAPE)
        assert workspace.kept == 1
        answer = workspace.empty((*SHAPE, 2))
    assert workspace.kept == 0
    del answer  # the caller's, given up later
    gc.collect()
    assert workspace.kept == 0


def test_answers_may_outlive_their_workspace() -> None:
    workspace = Workspace()
    with workspace.recycling():
        answer = workspace.empty(SHAPE)
    answer[...] = 5
    del workspace
    gc.collect()
    assert (answer == 5).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_child_forked_amid_a_call_keeps_nothing() -> None:
    workspace = Workspace()
    with workspace.recycling():
        workspace.empty(SHAPE)
        if (child := os.fork()) == 0:
            with workspace.recycling():
                workspace.empty(SHAPE)
            os._exit(workspace.kept)
    assert os.waitpid(child, 0)[1] == 0


def test_calls_that_overlap_without_end_keep_a_bounded_number() -> None:
    workspace = Workspace()
    with workspace.recycling():
        for more in range(10 * KEPT):
            workspace.floats(SMALL + more)
            assert workspace.kept <= KEPT


@pytest.mark.parametrize("count", [0, 1, 1000, SMALL])
def test_arrays_begin_on_cache_lines(count: int) -> None:
    floats = Workspace().floats(count)
    assert floats.shape == (count,)
    assert floats.dtype == np.float32
    assert count == 0 or address(floats) % 64 == 0


def test_threads_share_no_memory() -> None:
    workspace, wrong = Workspace(), []

    def work(number: int) -> None:
        for _ in range(200):
            with workspace.recycling():
                arrays = [workspace.empty(SHAPE) for _ in range(3)]
                for i, array in enumerate(arrays):
                    array[...] = 10 * number + i
                wrong.extend(
                    i for i, array in enumerate(arrays) if not (array == 10 * number + i).all()
                )

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert workspace.kept == 0
