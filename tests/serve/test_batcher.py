"""Batches: who is in the next one, and that being in it changes nobody's answer."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from serve.clients import service_of, talk
from yosort.errors import InputError
from yosort.serve.batcher import Batcher, Job, length
from yosort.serve.limits import Limits
from yosort.serve.metrics import Metrics
from yosort.serve.refusals import Refusal
from yosort.tasks.batch import Prepared, Row
from yosort.tasks.stream import Item


class Recorder:
    """In place of a stream: writes down each batch, and runs it when it may.

    Attributes:
        batches: the index of each row's item, by batch.
        go: set while batches may run.
        began: released with each batch that begins.
    """

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go, self.began = threading.Event(), threading.Semaphore(0)
        self.go.set()
        self.failure: Exception | None = None

    def run(self, places: Sequence[tuple[Item, int]]) -> None:
        self.batches.append([item.index for item, _ in places])
        self.began.release()
        assert self.go.wait(60)
        if self.failure is not None:
            raise self.failure
        for item, i in places:
            item.outputs[i] = item.index
            if item.index < 0:
                item.error = InputError("negative")


def job(recorder: Recorder, lengths: Sequence[int], index: int, key: str = "a") -> Job:
    rows = [Row([5] * n, [0] * n) for n in lengths]
    items = [Item(index, "", Prepared([row]), [None]) for row in rows]
    return Job(recorder, items, key)  # type: ignore[arg-type]


def run(what: Any, **limits: Any) -> tuple[Recorder, Batcher]:
    """Run a test on an event loop with a queue whose batches are recorded."""
    recorder = Recorder()

    async def main() -> Batcher:
        batcher = Batcher(
            Limits(**{"max_batch_tokens": 100, "max_wait_ms": 0, **limits}), Metrics()
        )
        batcher.start()
        try:
            await what(batcher, recorder)
            assert batcher.is_alive
        finally:
            recorder.go.set()
            await batcher.stop()
        assert not batcher.is_alive
        return batcher

    return recorder, asyncio.run(main())


async def busy(batcher: Batcher, recorder: Recorder) -> asyncio.Task[None]:
    """Let a batch run until `go` is set; what comes meanwhile waits."""
    recorder.go.clear()
    first = asyncio.ensure_future(batcher.run(job(recorder, [1], 0)))
    await asyncio.to_thread(recorder.began.acquire)
    return first


async def put(batcher: Batcher, *jobs: Job) -> list[asyncio.Task[None]]:
    tasks = [asyncio.ensure_future(batcher.run(each)) for each in jobs]
    await asyncio.sleep(0)
    return tasks


def test_a_short_text_is_in_the_next_batch_however_long_the_queue_is() -> None:
    async def what(batcher: Batcher, recorder: Recorder) -> None:
        first = await busy(batcher, recorder)
        long = [job(recorder, [50] * 20, index) for index in (1, 2, 3)]
        tasks = await put(batcher, *long, job(recorder, [3], 9), job(recorder, [4, 4], 8))
        recorder.go.set()
        await asyncio.gather(first, *tasks)

    recorder, _ = run(what)
    assert recorder.batches[0] == [0]
    assert sorted(recorder.batches[1]) == [1, 8, 8, 9]
    assert len(recorder.batches) == 2 + 30  # 59 rows of 50 are left, two a batch


def test_half_of_a_batch_is_for_those_with_the_fewest_tokens() -> None:
    """It begins with the oldest; what half of the room leaves goes by age again."""

    async def what(batcher: Batcher, recorder: Recorder) -> None:
        first = await busy(batcher, recorder)
        old, few, last = (job(recorder, [10] * n, n) for n in (30, 15, 20))
        tasks = await put(batcher, old, few, last)
        recorder.go.set()
        await asyncio.gather(first, *tasks)

    # Of 100 tokens one row of 10 for the oldest, 50 for the shortest, the other 40 by age.
    assert run(what)[0].batches[1] == [30] * 5 + [15] * 5


def test_a_long_text_moves_though_short_ones_keep_coming() -> None:
    async def what(batcher: Batcher, recorder: Recorder) -> None:
        first = await busy(batcher, recorder)
        (long,) = await put(batcher, job(recorder, [90] * 3, 1))
        short: list[Any] = []
        recorder.go.set()
        for _ in range(200):
            short += await put(batcher, job(recorder, [5], 2))
            if long.done():
                break
            await asyncio.sleep(0.001)
        await asyncio.gather(first, long, *short)

    recorder, _ = run(what)
    with_long = [i for i, batch in enumerate(recorder.batches) if 1 in batch]
    assert with_long == [1, 2, 3]


def test_a_batch_holds_no_more_tokens_than_it_may() -> None:
    rng = random.Random(5)
    sizes = [[rng.randint(1, 130) for _ in range(rng.randint(1, 6))] for _ in range(40)]
    jobs: list[Job] = []

    async def what(batcher: Batcher, recorder: Recorder) -> None:
        jobs.extend(job(recorder, lengths, index) for index, lengths in enumerate(sizes, 1))
        first = await busy(batcher, recorder)
        tasks = await put(batcher, *jobs)
        recorder.go.set()
        await asyncio.gather(first, *tasks)

    recorder, batcher = run(what)
    assert sum(map(len, recorder.batches)) == 1 + sum(map(len, sizes))
    assert all(item.outputs == [item.index] for each in jobs for item in each.items)
    for batch in recorder.batches:
        taken = [sizes[i - 1].pop(0) if i else 1 for i in batch]
        assert sum(taken) <= 100 or len(taken) == 1
    assert batcher._waiting == 0
    assert not batcher._jobs


def test_other_options_are_computed_apart_the_fewest_tokens_first() -> None:
    async def what(batcher: Batcher, recorder: Recorder) -> None:
        first = await busy(batcher, recorder)
        jobs = [
            job(recorder, [20, 20], 1, "long"),
            job(recorder, [2], 2, "short"),
            job(recorder, [9], 3, "long"),
        ]
        tasks = await put(batcher, *jobs)
        recorder.go.set()
        await asyncio.gather(first, *tasks)

    recorder, _ = run(what)
    assert [sorted(batch) for batch in recorder.batches] == [[0], [2], [1, 1, 3]]


def test_it_waits_for_company_but_no_longer_than_it_may() -> None:
    async def what(batcher: Batcher, recorder: Recorder) -> None:
        tasks = await put(batcher, job(recorder, [1], 1))
        await asyncio.sleep(0.01)
        tasks += await put(batcher, job(recorder, [1], 2))
        await asyncio.gather(*tasks)

    assert run(what, max_wait_ms=2000)[0].batches == [[1, 2]]

    async def full(batcher: Batcher, recorder: Recorder) -> None:
        tasks = await put(batcher, job(recorder, [60], 1), job(recorder, [40], 2))
        await asyncio.wait_for(asyncio.gather(*tasks), 60)  # at once: a day would not pass

    assert run(full, max_wait_ms=86_400_000)[0].batches == [[1, 2]]


def test_who_leaves_frees_the_place() -> None:
    async def what(batcher: Batcher, recorder: Recorder) -> None:
        first = await busy(batcher, recorder)
        (gone,) = await put(batcher, job(recorder, [60] * 5, 1))
        assert batcher._waiting == 300
        with pytest.raises(Refusal) as caught:
            await batcher.run(job(recorder, [60], 2))
        assert (caught.value.status, caught.value.code) == (429, "rate_limit_exceeded")
        assert 1 <= (caught.value.retry_after or 0) <= 60
        gone.cancel()
        await asyncio.sleep(0)
        assert batcher._waiting == 0
        (next_,) = await put(batcher, job(recorder, [60], 3))
        recorder.go.set()
        await asyncio.gather(first, next_)
        # In the midst of its batches, too.
        recorder.go.clear()
        (half,) = await put(batcher, job(recorder, [60] * 5, 4))
        for _ in range(2):
            await asyncio.to_thread(recorder.began.acquire)
        half.cancel()
        recorder.go.set()
        await batcher.run(job(recorder, [1], 5))

    recorder, batcher = run(what, max_waiting_tokens=300)
    assert recorder.batches == [[0], [3], [4], [5]]
    assert batcher._waiting == 0


def test_who_leaves_while_the_last_row_is_computed_takes_nobody_along() -> None:
    async def what(batcher: Batcher, recorder: Recorder) -> None:
        gone = await busy(batcher, recorder)
        gone.cancel()
        (next_,) = await put(batcher, job(recorder, [5], 1))
        recorder.go.set()
        await asyncio.wait_for(next_, 60)
        assert gone.cancelled()

    assert run(what)[0].batches == [[0], [1]]


def test_more_tokens_than_the_queue_holds_are_too_many() -> None:
    async def what(batcher: Batcher, recorder: Recorder) -> None:
        with pytest.raises(Refusal, match="at most 300, got 301") as caught:
            await batcher.run(job(recorder, [301], 1))
        assert caught.value.status == 413
        await batcher.run(job(recorder, [300], 2))

    assert run(what, max_waiting_tokens=300)[0].batches == [[2]]


def test_the_queue_may_be_full_to_the_last_token() -> None:
    async def what(batcher: Batcher, recorder: Recorder) -> None:
        first = await busy(batcher, recorder)
        tasks = await put(batcher, job(recorder, [60] * 4, 1), job(recorder, [60], 2))
        with pytest.raises(Refusal, match="300 tokens wait already, and this request has 1"):
            await batcher.run(job(recorder, [1], 3))
        recorder.go.set()
        await asyncio.gather(first, *tasks)

    assert len(run(what, max_waiting_tokens=300)[0].batches) == 1 + 5


def test_a_request_without_rows_waits_for_nothing() -> None:
    async def what(batcher: Batcher, recorder: Recorder) -> None:
        first = await busy(batcher, recorder)
        await batcher.run(job(recorder, [], 1))
        recorder.go.set()
        await first

    assert run(what)[0].batches == [[0]]


def test_one_wrong_input_ends_its_request_and_no_other() -> None:
    async def what(batcher: Batcher, recorder: Recorder) -> None:
        first = await busy(batcher, recorder)
        wrong, right = job(recorder, [60] * 5, -1), job(recorder, [60] * 2, 1)
        tasks = await put(batcher, wrong, right)
        recorder.go.set()
        await asyncio.gather(first, *tasks)
        assert wrong.items[0].error is not None
        assert [item.outputs for item in right.items] == [[1], [1]]

    assert run(what)[0].batches == [[0], [-1], [1], [1]]


def test_what_nobody_foresaw_fails_its_batch_and_no_more() -> None:
    async def what(batcher: Batcher, recorder: Recorder) -> None:
        recorder.failure = MemoryError("all gone")
        with pytest.raises(MemoryError):
            await batcher.run(job(recorder, [1], 1))
        recorder.failure = None
        await batcher.run(job(recorder, [1], 2))
        assert batcher.is_alive

    assert run(what)[0].batches == [[1], [2]]


@pytest.mark.parametrize("task", ["fill-mask", "multiple-choice", "question-answering"])
def test_no_bit_of_an_answer_depends_on_who_asks_beside(task: str, pipelines: Any) -> None:
    """Many at once, through small batches, get what each alone gets from the pipeline."""
    own, rng = pipelines(task), random.Random(3)
    words = ["A", "dog", "barks", "and", "Moses", "went", "up", "into", "Sinai"]

    def text(most: int) -> str:
        return " ".join(rng.choices(words, k=rng.randint(1, most)))

    def value() -> Any:
        if task == "fill-mask":
            return f"{text(12)} <mask> {text(12)}"
        if task == "question-answering":
            return {"question": text(5), "context": text(150)}  # several windows
        return {"prompt": text(10), "choices": [text(5) for _ in range(3)]}

    asked = [[value() for _ in range(rng.choice((1, 1, 1, 8)))] for _ in range(40)]
    texts = [text(20) for _ in range(40)]
    vectors = own["feature-extraction"](texts, pooling="mean", normalize=True)
    # Computed one by one: lists of one have no neighbours.
    wanted = [[own[task](one) for one in values] for values in asked]

    async def ask(client: Any) -> None:
        requests = [client.post(f"/{task}", json={"inputs": values}) for values in asked]
        requests += [client.post("/v1/embeddings", json={"input": one}) for one in texts]
        order = list(range(len(requests)))
        rng.shuffle(order)
        done = await asyncio.gather(*(requests[i] for i in order))
        found = [body for _, body in sorted(zip(order, (r.json() for r in done), strict=True))]
        assert found[: len(asked)] == wanted
        assert [body["data"][0]["embedding"] for body in found[len(asked) :]] == vectors

    service = service_of(own, max_batch_tokens=200, max_wait_ms=20)
    talk(service, ask)
    registry = service.metrics.registry
    rows, batches = (
        registry.get_sample_value(f"yosort_batch_rows_{what}") or 0.0 for what in ("sum", "count")
    )
    assert rows / batches > 2  # they did share batches


def test_length() -> None:
    assert length((Item(0, "", Prepared([Row([1, 2], [0, 0])]), [None]), 0)) == 2


def test_how_soon_to_come_again_goes_by_the_seconds_that_tokens_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half by the last batch, a quarter by the one before, and so on."""

    async def what(batcher: Batcher, recorder: Recorder) -> None:
        now, of_recorder = 0.0, recorder.run
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)

        def taking(seconds: float) -> Callable[[Sequence[tuple[Item, int]]], None]:
            def slowly(places: Sequence[tuple[Item, int]]) -> None:
                nonlocal now
                now += seconds
                of_recorder(places)

            return slowly

        for seconds, tokens, wanted in ((8, 4, 10), (6, 1, 35), (0, 4, 18)):
            monkeypatch.setattr(recorder, "run", taking(seconds))
            await batcher.run(job(recorder, [tokens], 1))
            batcher._waiting = 10
            assert batcher.retry_after() == wanted
            batcher._waiting = 10**9
            assert batcher.retry_after() == 60
            batcher._waiting = 0
            assert batcher.retry_after() == 1
        for name in ("queue", "batch"):
            taken = batcher._metrics.registry.get_sample_value(f"yosort_{name}_seconds_sum")
            assert taken == 8 + 6 + 0

    run(what)


def test_a_batch_that_waits_for_company_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """It wakes for each arrival, and looks at nothing in between."""
    waited: list[float] = []
    wait_for = asyncio.wait_for

    async def counted(what: Any, timeout: float) -> Any:
        waited.append(timeout)
        return await wait_for(what, timeout)

    monkeypatch.setattr(asyncio, "wait_for", counted)

    async def what(batcher: Batcher, recorder: Recorder) -> None:
        await asyncio.gather(*(batcher.run(job(recorder, [5], i)) for i in range(3)))

    recorder, _ = run(what, max_wait_ms=200)
    assert recorder.batches == [[0, 1, 2]]
    assert 1 <= len(waited) <= 4


def test_a_refusal_says_what_it_is() -> None:
    assert str(Refusal(429, "too many; wait")) == "too many; wait"
